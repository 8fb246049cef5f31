"""Lists an archive from standard input, one line per entry: everything its header says, and the digest of its contents.

The root's time is that of the container, not of the image, and left out.
"""

import hashlib
import sys
import tarfile

count = total = 0
with tarfile.open(fileobj=sys.stdin.buffer, mode="r|", bufsize=1 << 20) as archive:
    for entry in archive:
        count += 1
        total += entry.size
        digest = hashlib.sha256()
        if entry.isreg():
            contents = archive.extractfile(entry)
            while piece := contents.read(1 << 20):
                digest.update(piece)
        name = entry.name.strip("/")
        pax = {key: value for key, value in entry.pax_headers.items() if key not in ("path", "linkpath", "size")}
        time = entry.mtime
        if name in ("", "."):
            time = None
            pax.pop("mtime", None)
        print(
            repr(name), entry.type, oct(entry.mode), entry.uid, entry.gid, entry.size, time, repr(entry.linkname),
            entry.devmajor, entry.devminor, sorted(pax.items()), digest.hexdigest(),
        )
print(f"{count} entries, {total} bytes")
