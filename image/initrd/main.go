// The only program of the initrd: process 1 until the verified root file system is there.
//
// It loads the disk drivers, opens the root under dm-verity with the root hash of the measured command line, loads the
// drivers of the devices that are there, locks the kernel down, and hands over to systemd. Whatever goes wrong ends in
// power-off with a line on the console; there is no shell and nothing that could start one. It never reads configuration
// but the measured command line, which must be the one it was built with, to the byte (no added "init=", no
// "lockdown=none").
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const sysroot = "/sysroot"

var console *os.File

func say(format string, args ...any) {
	line := fmt.Sprintf("initrd: "+format, args...)
	if console != nil {
		fmt.Fprintf(console, "<3>%s\n", line) // the console shows nothing milder
	}
}

// die powers off: a node whose root can't be verified has nothing to run (I8).
func die(format string, args ...any) {
	say("FATAL: "+format+"; powering off", args...)
	time.Sleep(500 * time.Millisecond) // the console is asynchronous
	syscall.Sync()
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func mount(source, target, kind string, flags uintptr) {
	if err := syscall.Mount(source, target, kind, flags, ""); err != nil {
		die("mount %s on %s: %v", kind, target, err)
	}
}

// rootHash refuses every command line but the expected one followed by "roothash=".
func rootHash() string {
	actual, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		die("command line: %v", err)
	}
	expected, err := os.ReadFile("/cmdline")
	if err != nil {
		die("expected command line: %v", err)
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(string(actual)), strings.TrimSpace(string(expected))+" roothash=")
	if !ok || !regexp.MustCompile("^[0-9a-f]{64}$").MatchString(rest) {
		die("the command line is not the image's own: %q", strings.TrimSpace(string(actual)))
	}
	return rest
}

// partitions finds the image's partitions by their GPT names, both on one disk. Of several such disks (an earlier image's
// beside this one's) it takes the first whose hash tree ends in the root hash: whichever the host adds, the choice stays.
func partitions(root string) (data, hash string) {
	told := map[string]bool{}
	for range 300 {
		found := map[string]map[string]string{}
		events, _ := filepath.Glob("/sys/class/block/*/uevent")
		for _, event := range events {
			text, _ := os.ReadFile(event)
			values := map[string]string{}
			for line := range strings.Lines(string(text)) {
				key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				values[key] = value
			}
			target, err := filepath.EvalSymlinks(filepath.Dir(event))
			if err != nil || values["PARTNAME"] == "" {
				continue
			}
			disk := filepath.Dir(target)
			if found[disk] == nil {
				found[disk] = map[string]string{}
			}
			found[disk][values["PARTNAME"]] = "/dev/" + values["DEVNAME"]
		}
		for _, disk := range slices.Sorted(maps.Keys(found)) {
			data, hash := found[disk]["root-x86-64"], found[disk]["root-x86-64-verity"]
			if data == "" || hash == "" {
				continue
			}
			super, err := readSuperblock(hash)
			if err == nil && super.root == root {
				return data, hash
			}
			if err == nil {
				err = fmt.Errorf("its hash tree ends in %s", super.root)
			}
			if !told[disk] {
				say("not this image's root: %s: %v", data, err)
			}
			told[disk] = true
		}
		time.Sleep(20 * time.Millisecond)
	}
	die("no disk with partitions root-x86-64 and root-x86-64-verity of root hash %s", root)
	return
}

func main() {
	mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC)
	mount("sysfs", "/sys", "sysfs", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC)
	mount("devtmpfs", "/dev", "devtmpfs", syscall.MS_NOSUID)
	console, _ = os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	say("up at %s", uptime())
	hash := rootHash()
	if err := loadListed("/modules"); err != nil {
		die("disk drivers: %v", err)
	}
	data, tree := partitions(hash)
	device, err := openVerity("root", data, tree, hash)
	if err != nil {
		die("verity root %s on %s: %v", hash, data, err)
	}
	readAhead(device)
	mount(device, sysroot, "erofs", syscall.MS_RDONLY)
	say("root %s verified at %s", hash, uptime())
	if err := loadDrivers(sysroot); err != nil {
		die("drivers: %v", err)
	}
	if err := mountScratch(sysroot); err != nil {
		die("scratch: %v", err)
	}
	if err := announceCards(sysroot); err != nil {
		die("network cards: %v", err)
	}
	if err := lockDown(); err != nil {
		die("kernel lockdown: %v", err)
	}
	switchRoot()
}

// readAhead lets programs come in larger pieces: a fault costs a round through decompression and verification. A hint.
func readAhead(device string) {
	os.WriteFile("/sys/class/block/"+filepath.Base(device)+"/queue/read_ahead_kb", []byte("1024"), 0)
}

func uptime() string {
	text, _ := os.ReadFile("/proc/uptime")
	first, _, _ := strings.Cut(string(text), " ")
	return first + " s"
}

// switchRoot frees the initrd's memory and becomes systemd on the verified root.
func switchRoot() {
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if err := syscall.Mount(dir, sysroot+dir, "", syscall.MS_MOVE, ""); err != nil {
			die("moving %s: %v", dir, err)
		}
	}
	say("handing over at %s", func() string {
		text, _ := os.ReadFile(sysroot + "/proc/uptime")
		return strings.Fields(string(text) + " ?")[0] + " s"
	}())
	os.RemoveAll("/modules")
	os.Remove("/cmdline")
	os.Remove("/init")
	if err := os.Chdir(sysroot); err != nil {
		die("root: %v", err)
	}
	mount(".", "/", "", syscall.MS_MOVE)
	if err := syscall.Chroot("."); err != nil {
		die("chroot: %v", err)
	}
	if err := os.Chdir("/"); err != nil {
		die("root: %v", err)
	}
	err := syscall.Exec("/usr/lib/systemd/systemd", []string{"/sbin/init"}, []string{"TERM=dumb"})
	die("systemd: %v", err)
}
