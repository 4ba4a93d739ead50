package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// Linux include/uapi/linux/dm-ioctl.h
const (
	dmIoctlSize   = 312
	dmTargetSize  = 40
	dmDevCreate   = 0xc138fd03
	dmTableLoad   = 0xc138fd09
	dmDevSuspend  = 0xc138fd06 // without DM_SUSPEND_FLAG: resume
	dmReadOnly    = 1 << 0
	dmBufferBytes = 4096
)

// superblock of veritysetup: https://gitlab.com/cryptsetup/cryptsetup/-/wikis/DMVerity
type superblock struct {
	dataBlocks uint64
	salt       string
	uuid       []byte
	root       string // hash of the tree's topmost block, which follows the superblock
}

const blockSize = 4096

func readSuperblock(device string) (superblock, error) {
	file, err := os.Open(device)
	if err != nil {
		return superblock{}, err
	}
	defer file.Close()
	b := make([]byte, 2*blockSize)
	if _, err := io.ReadFull(file, b); err != nil {
		return superblock{}, err
	}
	algorithm, _, _ := strings.Cut(string(b[32:64]), "\x00")
	saltSize := int(binary.LittleEndian.Uint16(b[80:]))
	switch {
	case string(b[0:8]) != "verity\x00\x00":
		return superblock{}, errors.New("no verity superblock")
	case binary.LittleEndian.Uint32(b[8:]) != 1 || binary.LittleEndian.Uint32(b[12:]) != 1:
		return superblock{}, errors.New("verity version or hash type is not 1")
	case algorithm != "sha256":
		return superblock{}, fmt.Errorf("verity algorithm is %q, not sha256", algorithm)
	case binary.LittleEndian.Uint32(b[64:]) != blockSize || binary.LittleEndian.Uint32(b[68:]) != blockSize:
		return superblock{}, errors.New("verity block size is not 4096")
	case saltSize > 256:
		return superblock{}, errors.New("verity salt is too long")
	}
	root := sha256.New()
	root.Write(b[88 : 88+saltSize])
	root.Write(b[blockSize:])
	salt := hex.EncodeToString(b[88 : 88+saltSize])
	if salt == "" {
		salt = "-"
	}
	return superblock{binary.LittleEndian.Uint64(b[72:]), salt, b[16:32], hex.EncodeToString(root.Sum(nil))}, nil
}

// openVerity makes /dev/dm-N of a data and a hash partition. A block that does not match panics the kernel.
func openVerity(name, data, hash, root string) (string, error) {
	super, err := readSuperblock(hash)
	if err != nil {
		return "", err
	}
	control, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	ask := func(request uintptr, flags uint32, targets uint32, payload []byte) (uint64, error) {
		b := make([]byte, dmBufferBytes)
		binary.LittleEndian.PutUint32(b[0:], 4) // DM_VERSION_MAJOR
		binary.LittleEndian.PutUint32(b[12:], dmBufferBytes)
		binary.LittleEndian.PutUint32(b[16:], dmIoctlSize)
		binary.LittleEndian.PutUint32(b[20:], targets)
		binary.LittleEndian.PutUint32(b[28:], flags)
		copy(b[48:], name)
		if request == dmDevCreate {
			copy(b[176:], "CRYPT-VERITY-"+hex.EncodeToString(super.uuid)+"-"+name)
		}
		copy(b[dmIoctlSize:], payload)
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, control.Fd(), request, uintptr(unsafe.Pointer(&b[0])))
		if errno != 0 {
			return 0, errno
		}
		return binary.LittleEndian.Uint64(b[40:]), nil
	}
	device, err := ask(dmDevCreate, dmReadOnly, 0, nil)
	if err != nil {
		return "", fmt.Errorf("create: %w", err)
	}
	table := fmt.Sprintf("1 %s %s %d %d %d 1 sha256 %s %s 2 panic_on_corruption try_verify_in_tasklet",
		data, hash, blockSize, blockSize, super.dataBlocks, root, super.salt)
	target := make([]byte, dmTargetSize, dmBufferBytes)
	binary.LittleEndian.PutUint64(target[8:], super.dataBlocks*(blockSize/512))
	copy(target[24:], "verity")
	if _, err := ask(dmTableLoad, dmReadOnly, 1, append(append(target, table...), 0)); err != nil {
		return "", fmt.Errorf("table: %w", err)
	}
	if _, err := ask(dmDevSuspend, 0, 0, nil); err != nil {
		return "", fmt.Errorf("activate: %w", err)
	}
	minor := device&0xff | (device>>12)&^0xff
	return fmt.Sprintf("/dev/dm-%d", minor), nil
}
