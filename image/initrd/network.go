package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// announceCards mounts /run and tells systemd-networkd, in udev's format, that the network cards are ready to be
// configured. The image has no udev: drivers are loaded once, here, and names are the kernel's.
func announceCards(root string) error {
	run := filepath.Join(root, "run")
	if err := syscall.Mount("tmpfs", run, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0755,size=20%"); err != nil {
		return err
	}
	database := filepath.Join(run, "udev/data")
	if err := os.MkdirAll(database, 0o755); err != nil {
		return err
	}
	cards, _ := filepath.Glob("/sys/class/net/*/device")
	for _, card := range cards {
		index, err := os.ReadFile(filepath.Join(filepath.Dir(card), "ifindex"))
		if err != nil {
			return err
		}
		file := filepath.Join(database, "n"+strings.TrimSpace(string(index)))
		if err := os.WriteFile(file, []byte("I:1\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}
