module sealet/image/pod

go 1.26.0
