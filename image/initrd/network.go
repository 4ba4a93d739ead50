package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// mountScratch gives the read-only root its writable parts, in memory: /run, /tmp, and a /var that lasts until the
// agent mounts the state disk over it.
func mountScratch(root string) error {
	for _, one := range []struct{ path, options string }{
		{"run", "mode=0755,size=20%"},
		{"tmp", "mode=1777,size=20%"},
		{"var", "mode=0755,size=64M"},
	} {
		target := filepath.Join(root, one.path)
		if err := syscall.Mount("tmpfs", target, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, one.options); err != nil {
			return err
		}
	}
	for path, mode := range map[string]os.FileMode{
		"run/lock": 0o755, "var/lib": 0o755, "var/log": 0o755, "var/cache": 0o755, "var/tmp": 0o777 | os.ModeSticky,
	} {
		folder := filepath.Join(root, path)
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(folder, mode); err != nil {
			return err
		}
	}
	return os.Symlink("../run", filepath.Join(root, "var/run"))
}

// announceCards tells systemd-networkd, in udev's format, that the network cards are ready to be
// configured. The image has no udev: drivers are loaded once, here, and names are the kernel's.
func announceCards(root string) error {
	database := filepath.Join(root, "run/udev/data")
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
