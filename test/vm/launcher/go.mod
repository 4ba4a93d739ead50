module sealet/test/vm/launcher

go 1.26.0
