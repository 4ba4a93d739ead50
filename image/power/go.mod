module sealet/image/power

go 1.26.0
