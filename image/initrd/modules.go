package main

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unsafe"
)

const sysFinitModule = 313 // x86-64

// loadModule loads one uncompressed module; ENODEV: it has no hardware here.
func loadModule(file string) error {
	module, err := os.Open(file)
	if err != nil {
		return err
	}
	defer module.Close()
	none := [1]byte{}
	_, _, errno := syscall.Syscall(sysFinitModule, module.Fd(), uintptr(unsafe.Pointer(&none)), 0)
	if errno == 0 || errors.Is(errno, syscall.EEXIST) {
		return nil
	}
	return errno
}

// lockDown ends the time in which modules are loaded by being in the verified root alone: from now on each needs
// Debian's signature, and root can't reach into the kernel (kernel_lockdown(7)). dm-clone is ours and unsigned, which
// is why this is not on the command line. Under Secure Boot Debian's kernel has locked itself down, and takes the same
// level a second time for an error.
// Not "confidentiality", which would take kprobes, perf and bpf_probe_read_kernel from the programs of CNIs and of
// observability: root outside of a pod's sandbox has the node in any case.
func lockDown() error {
	if err := syscall.Mount("securityfs", "/sys/kernel/security", "securityfs", 0, ""); err != nil {
		return err
	}
	const file = "/sys/kernel/security/lockdown"
	level, err := os.ReadFile(file) // none [integrity] confidentiality
	if err != nil {
		return err
	}
	locked := strings.Contains(string(level), "[integrity]") || strings.Contains(string(level), "[confidentiality]")
	if !locked {
		if err := os.WriteFile(file, []byte("integrity"), 0); err != nil {
			return err
		}
	}
	if err := os.WriteFile("/sys/module/module/parameters/sig_enforce", []byte("Y"), 0); err != nil {
		return err
	}
	return syscall.Unmount("/sys/kernel/security", 0)
}

// loadDrivers does what udev's cold plug would: for each device that is there the driver that claims it, and the
// modules of `modules-load.d`; all from the verified root, whose set of modules is an allow-list.
func loadDrivers(root string) error {
	var name syscall.Utsname
	if err := syscall.Uname(&name); err != nil {
		return err
	}
	release := []byte{}
	for _, c := range name.Release {
		if c == 0 {
			break
		}
		release = append(release, byte(c))
	}
	folder := filepath.Join(root, "usr/lib/modules", string(release))
	paths, needs, err := dependencies(folder)
	if err != nil {
		return err
	}
	wanted, err := byAlias(folder)
	if err != nil {
		return err
	}
	lists, _ := filepath.Glob(filepath.Join(root, "usr/lib/modules-load.d/*.conf"))
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				wanted = append(wanted, line)
			}
		}
	}
	loader := newLoader(folder, paths, needs)
	for _, module := range wanted {
		loader.load(module)
	}
	say("loaded %s", strings.Join(loader.loaded(), " "))
	return nil
}

// loadListed loads the modules that a folder's file "order" names.
func loadListed(folder string) error {
	paths, needs, err := dependencies(folder)
	if err != nil {
		return err
	}
	order, err := os.ReadFile(filepath.Join(folder, "order"))
	if err != nil {
		return err
	}
	loader := newLoader(folder, paths, needs)
	for module := range strings.FieldsSeq(string(order)) {
		loader.load(module) // what is indispensable is missed later
	}
	return nil
}

type loader struct {
	folder string
	paths  map[string]string
	needs  map[string][]string
	done   map[string]bool // and whether it succeeded
}

func newLoader(folder string, paths map[string]string, needs map[string][]string) *loader {
	return &loader{folder, paths, needs, map[string]bool{}}
}

// load loads a module by name after what it needs. Built-in and not allowed ones are passed over.
func (l *loader) load(module string) {
	file, ok := l.paths[strings.ReplaceAll(module, "-", "_")]
	if !ok {
		return
	}
	for _, one := range append(l.needs[file], file) {
		success, known := l.done[one]
		if !known {
			err := loadModule(filepath.Join(l.folder, one))
			success = err == nil
			l.done[one] = success
			if err != nil && !errors.Is(err, syscall.ENODEV) {
				say("module %s: %v", one, err)
			}
		}
		if !success {
			return
		}
	}
}

// loaded names the modules that are in the kernel.
func (l *loader) loaded() []string {
	names := []string{}
	for file, success := range l.done {
		if success {
			names = append(names, strings.TrimSuffix(path.Base(file), ".ko"))
		}
	}
	slices.Sort(names)
	return names
}

// dependencies reads modules.dep: the file of each module, and the files it needs, in the order to load them.
func dependencies(folder string) (paths map[string]string, needs map[string][]string, err error) {
	text, err := os.ReadFile(filepath.Join(folder, "modules.dep"))
	if err != nil {
		return nil, nil, err
	}
	paths, needs = map[string]string{}, map[string][]string{}
	for line := range strings.Lines(string(text)) {
		file, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		module := strings.TrimSuffix(path.Base(file), ".ko")
		paths[strings.ReplaceAll(module, "-", "_")] = file
		fields := strings.Fields(rest)
		for i := len(fields) - 1; i >= 0; i-- {
			needs[file] = append(needs[file], fields[i])
		}
	}
	return paths, needs, nil
}

// byAlias names the modules whose alias pattern matches a device that is there.
func byAlias(folder string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(folder, "modules.alias"))
	if err != nil {
		return nil, err
	}
	type alias struct{ pattern, module string }
	byBus := map[string][]alias{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "alias" {
			bus, _, _ := strings.Cut(fields[1], ":")
			byBus[bus] = append(byBus[bus], alias{fields[1], fields[2]})
		}
	}
	modules, seen := []string{}, map[string]bool{}
	err = filepath.WalkDir("/sys/devices", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "modalias" {
			return nil
		}
		text, err := os.ReadFile(file)
		device := strings.TrimSpace(string(text))
		if err != nil || device == "" || seen[device] {
			return nil
		}
		seen[device] = true
		bus, _, _ := strings.Cut(device, ":")
		for _, one := range byBus[bus] {
			if matches, _ := path.Match(one.pattern, device); matches {
				modules = append(modules, one.module)
			}
		}
		return nil
	})
	return modules, err
}
