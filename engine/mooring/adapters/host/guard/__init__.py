"""The guard: a small process that alone freezes and thaws, and keeps a process running.

A freeze lives in the kernel, so whoever freezes and dies leaves the application frozen for good.
The guard holds each freeze, with the root of the filesystem open and a timer armed from before,
and ends it when it is told to, when its time is up, and when whoever asked for it is gone. It
starts in some hundredths of a second and imports little, so there is little in it to fail.

    mooring-guard --folder /var/lib/mooring/guard -- mooring-csi node ...
        As the first process of a container: runs the command, starts it again when it dies, and
        serves freezes on a socket in the folder, where it also records them.
    mooring-guard -- mooring-operator
        The same for a process that freezes nothing.
    mooring-guard --standby --folder /var/lib/mooring/guard
        In a second container: ends the recorded freezes when the guard is gone or stuck.
    mooring-guard --listener 5
        As the child of a process that has no guard around it: serves freezes on an inherited
        socket until the parent is gone.
"""
