// The first program of the twin's disk: loads the kernel's CUSE, takes the twin's configuration from the disk with the
// serial "twin-config", makes the device, tells systemd that it is there, and starts the twin, which serves it. As with
// hardware the device is there before anything asks for it: who does, waits until the twin is up.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
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
	tee, err := copyConfiguration()
	if err != nil {
		return err
	}
	device, err := makeDevice(devices[tee])
	if err != nil {
		return err
	}
	// the first of ExtraFiles is descriptor 3
	twin := exec.Command(programs+"/node", "--snapshot-blob", programs+"/twin.blob", "twin", configuration, "3")
	twin.ExtraFiles = []*os.File{device}
	twin.Env = []string{"UV_THREADPOOL_SIZE=16"}
	twin.Stdout, twin.Stderr = os.Stdout, os.Stderr
	if err := twin.Start(); err != nil {
		return err
	}
	device.Close()
	notify("READY=1")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() { <-stop; twin.Process.Signal(syscall.SIGTERM) }()
	return twin.Wait()
}

var devices = map[string]string{"sev-snp": "sev-guest", "tdx": "tdx_guest"}

// makeDevice answers the kernel's CUSE_INIT (include/uapi/linux/fuse.h), upon which the device appears. What comes on
// the connection afterwards is the twin's.
func makeDevice(name string) (*os.File, error) {
	const (
		inHeader     = 40
		initOut      = 16 + 72 // struct fuse_out_header, struct cuse_init_out
		minor        = 31      // of the protocol that the twin speaks
		unrestricted = 1       // CUSE_UNRESTRICTED_IOCTL
		maxTransfer  = 0x20000
	)
	connection, err := os.OpenFile("/dev/cuse", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	request := make([]byte, 0x22000)
	length, err := syscall.Read(int(connection.Fd()), request)
	if err != nil || length < inHeader+8 {
		return nil, fmt.Errorf("/dev/cuse: %d bytes, %v", length, err)
	}
	reply := make([]byte, initOut, initOut+32)
	reply = append(reply, "DEVNAME="+name+"\x00"...)
	little := binary.LittleEndian
	little.PutUint32(reply, uint32(len(reply)))
	copy(reply[8:16], request[8:16]) // unique
	little.PutUint32(reply[16:], 7)
	little.PutUint32(reply[20:], min(minor, little.Uint32(request[inHeader+4:])))
	little.PutUint32(reply[28:], unrestricted)
	little.PutUint32(reply[32:], maxTransfer)
	little.PutUint32(reply[36:], maxTransfer)
	if _, err := syscall.Write(int(connection.Fd()), reply); err != nil {
		return nil, fmt.Errorf("/dev/cuse: %w", err)
	}
	return connection, nil
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

// copyConfiguration tells which TEE it is for.
func copyConfiguration() (string, error) {
	serials, _ := filepath.Glob("/sys/class/block/*/serial")
	for _, serial := range serials {
		text, err := os.ReadFile(serial)
		if err != nil || strings.TrimSpace(string(text)) != "twin-config" {
			continue
		}
		disk, err := os.ReadFile("/dev/" + filepath.Base(filepath.Dir(serial)))
		if err != nil {
			return "", err
		}
		text, _, _ = bytes.Cut(disk, []byte{0})
		var wanted struct{ Tee string }
		if err := json.Unmarshal(text, &wanted); err != nil {
			return "", err
		}
		return wanted.Tee, os.WriteFile(configuration, text, 0o600)
	}
	return "", fmt.Errorf("no disk with the serial twin-config")
}

func notify(state string) {
	connection, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return
	}
	defer connection.Close()
	fmt.Fprint(connection, state)
}
