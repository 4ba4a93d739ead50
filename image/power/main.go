// The power button. The image has neither udev nor logind, which would watch it; without it a cloud's "stop" would end
// in a power cut, with the lease still held. Pressing it powers off in good order, and nothing else is listened to.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Linux include/uapi/linux/input.h and input-event-codes.h
const (
	eventSize = 24
	evKey     = 1
	keyPower  = 116
	pressed   = 1
)

// systemd(1), signals: SIGRTMIN+4 starts poweroff.target
const powerOff = syscall.Signal(34 + 4)

func main() {
	buttons, _ := filepath.Glob("/sys/class/input/event*/device/name")
	watched := 0
	for _, button := range buttons {
		name, err := os.ReadFile(button)
		if err != nil || strings.TrimSpace(string(name)) != "Power Button" {
			continue
		}
		device, err := os.Open(filepath.Join("/dev/input", filepath.Base(filepath.Dir(filepath.Dir(button)))))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		watched++
		go watch(device)
	}
	if watched == 0 {
		fmt.Println("this machine has no power button")
		return
	}
	select {}
}

func watch(device *os.File) {
	event := make([]byte, eventSize)
	for {
		if n, err := device.Read(event); err != nil || n != eventSize {
			fmt.Fprintln(os.Stderr, "power button:", err)
			os.Exit(1)
		}
		kind, code := binary.LittleEndian.Uint16(event[16:]), binary.LittleEndian.Uint16(event[18:])
		if kind == evKey && code == keyPower && binary.LittleEndian.Uint32(event[20:]) == pressed {
			fmt.Println("power button pressed: powering off")
			if err := syscall.Kill(1, powerOff); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}
}
