# pip writes into the image's own site-packages.
pip install --break-system-packages --no-cache-dir --no-compile -q flask==3.0.3 requests==2.32.3 numpy==2.1.3 2>/dev/null
pip check
python3 -c 'import flask, requests, numpy; print(numpy.arange(12).reshape(3, 4).sum(axis=0))'
find /usr/local/lib/python3*/dist-packages -name '*.py' | LC_ALL=C sort | xargs sha256sum | sha256sum
pip uninstall --break-system-packages -y -q flask 2>/dev/null
pip list --format=freeze 2>/dev/null | { grep -i flask || echo gone; }
