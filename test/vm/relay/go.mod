module sealet/test/vm/relay

go 1.26.0
