"""Making the place of a `namespace` sandbox: namespaces, file system, disk. Standard library only.

`launch` is run as a program of its own, so that the sandbox does not hang on the harness's process and its threads. It ends in
`execd.main`, as the first process of the new namespaces.
"""
