module mooring.dev/toolchain/pause

go 1.25.0
