// The first program of the twin's disk: loads the kernel's CUSE, takes the twin's configuration from the disk with the
// serial "twin-config", starts the twin and tells systemd when its devices are there.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"
)

const (
	programs      = "/run/twin"
	configuration = "/run/twin-state/config.json"
	sysFinit      = 313 // finit_module on x86-64
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "twin:", err)
		os.Exit(1)
	}
}

func run() error {
	if err := loadModule(programs + "/cuse.ko"); err != nil {
		return err
	}
	if err := copyConfiguration(); err != nil {
		return err
	}
	twin := exec.Command(programs+"/node", programs+"/twin.mjs", configuration)
	twin.Env = []string{"UV_THREADPOOL_SIZE=16"}
	twin.Stderr = os.Stderr
	lines, err := twin.StdoutPipe()
	if err != nil {
		return err
	}
	if err := twin.Start(); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() { <-stop; twin.Process.Signal(syscall.SIGTERM) }()
	for scanner := bufio.NewScanner(lines); scanner.Scan(); {
		fmt.Println(scanner.Text())
		if scanner.Text() == "twin: ready" {
			notify("READY=1")
		}
	}
	return twin.Wait()
}

func loadModule(file string) error {
	module, err := os.Open(file)
	if err != nil {
		return err
	}
	defer module.Close()
	none := [1]byte{}
	_, _, errno := syscall.Syscall(sysFinit, module.Fd(), uintptr(unsafe.Pointer(&none)), 0)
	if errno != 0 && errno != syscall.EEXIST {
		return fmt.Errorf("%s: %w", file, errno)
	}
	return nil
}

func copyConfiguration() error {
	serials, _ := filepath.Glob("/sys/class/block/*/serial")
	for _, serial := range serials {
		text, err := os.ReadFile(serial)
		if err != nil || strings.TrimSpace(string(text)) != "twin-config" {
			continue
		}
		disk, err := os.ReadFile("/dev/" + filepath.Base(filepath.Dir(serial)))
		if err != nil {
			return err
		}
		json, _, _ := bytes.Cut(disk, []byte{0})
		return os.WriteFile(configuration, json, 0o600)
	}
	return fmt.Errorf("no disk with the serial twin-config")
}

func notify(state string) {
	connection, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return
	}
	defer connection.Close()
	fmt.Fprint(connection, state)
}
