"""A folder kept equal to the files of a record: manifest, then plan, then fetch, verify and place.

Each step is a module of its own and hands a value to the next:

    manifest.py, names.py   what should be there: a checked value
    folder.py               what is there: hashes of what stands at each path
    plan.py                 what has to happen: pure
    pieces.py, partial.py   which bytes are missing: pure, and its file
    fetch.py                bytes over HTTP
    placing.py              one rename per file, nothing of a stranger deleted
    state.py                what is remembered between two runs, and the lock
    engine.py               the loop that joins them

A later set that becomes visible as a whole replaces only `placing.py`: everything before it works in `partial/`.
"""
