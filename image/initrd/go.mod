module sealet/image/initrd

go 1.26.0
