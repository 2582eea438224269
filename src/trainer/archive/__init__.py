"""Archives of runs and sweeps: one file, verified by hashes when it is written and when it is read.

An archive is a tar file, compressed with Zstandard, that `tar --zstd -xf` can unpack as well:

    archive.json                       format, name, mode, and the size and SHA-256 of every file
    20261122-141530-9f3c/config.yaml   the files, sorted by path
    …

followed by a skippable Zstandard frame (0x184D2A50) with the SHA-256 of all bytes before it. The same
directory always gives the same bytes: times, owners and the order of files in the directory have no
effect. An encrypted archive is the same stream without the last frame in authenticated chunks; see
`encryption`.

Modules: `format` (the index and the members), `encryption`, `writing` (a directory → an archive),
`reading` (an archive → its files, which may be hostile), `restoring` (an archive → a directory).
"""
