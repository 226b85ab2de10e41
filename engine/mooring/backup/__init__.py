"""The backup engine: volumes into a repository and back. It knows no cluster and no store.

`repository` opens one; `capture`, `restore` and `verify` are the three uses; `format` is the bytes.
"""
