set -o pipefail
mkdir /project && cd /project
npm init -y >/dev/null
npm install --no-audit --no-fund --loglevel=error express@4.21.1 lodash@4.17.21 typescript@5.6.3 | sed 's/ in .*//'
find node_modules -type f ! -name .package-lock.json | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum
node -e 'const _ = require("lodash"); require("express"); console.log(_.chunk([1, 2, 3, 4, 5], 2))'
echo 'const x: number = 41; console.log(x + 1)' > a.ts && npx tsc a.ts && node a.js
rm -rf node_modules && npm ci --no-audit --no-fund --loglevel=error | sed 's/ in .*//'
find node_modules -type f | wc -l
