# A repository of some 20,000 files: made from what the image holds, cloned, checked, switched back and forth.
export GIT_AUTHOR_DATE='2024-01-01T00:00:00Z' GIT_COMMITTER_DATE='2024-01-01T00:00:00Z' HOME=/tmp
git config --global user.email test@example.org && git config --global user.name test
git init -q -b main /repo && cd /repo
cp -r --parents /usr/lib/python3 /usr/lib/python3.11 /usr/share/nodejs /usr/lib/rustlib . 2>/dev/null
find . -path ./.git -prune -o -name '*.pyc' -print0 | xargs -0 rm -f
git add -A && git commit -q -m first && git rev-parse HEAD
find . -path ./.git -prune -o -type f -name '*.py' -print | LC_ALL=C sort | head -3000 | tr '\n' '\0' | xargs -0 sed -i '1i # changed'
git commit -qam second && git rev-parse HEAD
git clone -q --no-hardlinks /repo /clone && cd /clone
git fsck --full 2>/dev/null && git status --porcelain | wc -l
git checkout -q HEAD~1 && git checkout -q main && git status --porcelain | wc -l
git gc -q && git fsck --full && git count-objects
git ls-files | wc -l
