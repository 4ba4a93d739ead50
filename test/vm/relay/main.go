// What stands in a virtual machine for the path to its hardware: it passes what the kernel asks through /dev/cuse on to
// the host, where the twin is, over the virtio port "sealet-twin", and the twin's answers back. Messages stay as they
// are: both directions begin with their length (include/uapi/linux/fuse.h).
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"
)

const (
	module    = "/run/twin/cuse.ko"
	port      = "sealet-twin"
	sysFinit  = 313     // finit_module on x86-64
	largest   = 0x22000 // bytes of a message
	outHeader = 16      // struct fuse_out_header
	interrupt = 36      // FUSE_INTERRUPT
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "twin:", err)
		os.Exit(1)
	}
}

func run() error {
	if err := loadModule(); err != nil {
		return err
	}
	host, err := openPort()
	if err != nil {
		return err
	}
	kernel, err := os.OpenFile("/dev/cuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	ended := make(chan error)
	go func() { ended <- passRequests(kernel, host) }()
	go func() { ended <- passAnswers(host, kernel) }()
	return <-ended
}

func passRequests(kernel, host *os.File) error {
	message := make([]byte, largest)
	for {
		length, err := syscall.Read(int(kernel.Fd()), message)
		if errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.ENOENT) {
			continue
		}
		if err != nil {
			return fmt.Errorf("/dev/cuse: %w", err)
		}
		// Whether its caller dies, this kernel alone knows; the twin's answer is near.
		if binary.LittleEndian.Uint32(message[4:]) == interrupt {
			continue
		}
		if _, err := host.Write(message[:length]); err != nil {
			return err
		}
	}
}

func passAnswers(host, kernel *os.File) error {
	message := make([]byte, largest)
	for first := true; ; first = false {
		if _, err := io.ReadFull(host, message[:outHeader]); err != nil {
			return err
		}
		length := binary.LittleEndian.Uint32(message)
		if length < outHeader || length > largest {
			return fmt.Errorf("an answer of %d bytes", length)
		}
		if _, err := io.ReadFull(host, message[outHeader:length]); err != nil {
			return err
		}
		// ENOENT: the caller was killed meanwhile
		_, err := syscall.Write(int(kernel.Fd()), message[:length])
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("/dev/cuse: %w", err)
		}
		// the first answer made the device
		if first {
			notify("READY=1")
		}
	}
}

func loadModule() error {
	file, err := os.Open(module)
	if err != nil {
		return err
	}
	defer file.Close()
	none := [1]byte{}
	_, _, errno := syscall.Syscall(sysFinit, file.Fd(), uintptr(unsafe.Pointer(&none)), 0)
	if errno != 0 && errno != syscall.EEXIST {
		return fmt.Errorf("%s: %w", module, errno)
	}
	return nil
}

func openPort() (*os.File, error) {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err == nil && strings.TrimSpace(string(text)) == port {
			return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(name)), os.O_RDWR, 0)
		}
	}
	return nil, fmt.Errorf("no virtio port %s", port)
}

func notify(state string) {
	connection, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return
	}
	defer connection.Close()
	fmt.Fprint(connection, state)
}
