package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	onFiles = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV

	toRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	toUse   = toRead | unix.LANDLOCK_ACCESS_FS_EXECUTE
	toFill  = toRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	toWrite = toUse | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER

	handled = toWrite | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK

	// leastABI has truncation, without which files could be emptied that cannot be written.
	leastABI = 3
)

// system is what programs need of the machine, as far as it is there.
var system = map[uint64][]string{
	toUse: {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store"},
	toRead: {
		// What says how the machine is set up, and holds no secret.
		"/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/localtime", "/etc/timezone",
		"/etc/locale.alias", "/etc/locale.conf", "/etc/default/locale", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/os-release", "/etc/debian_version",
		"/etc/mime.types", "/etc/magic", "/etc/terminfo", "/etc/inputrc", "/etc/profile", "/etc/bash.bashrc", "/etc/fonts", "/etc/xdg",
		"/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols", "/etc/networks",
		"/etc/ca-certificates", "/etc/ca-certificates.conf", "/etc/pki/tls/certs", "/etc/pki/ca-trust", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/crypto-policies",
		"/etc/python3", "/etc/perl", "/etc/java", "/etc/gitconfig", "/etc/npmrc",
		"/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/sys/devices/system/cpu", "/sys/kernel/mm/transparent_hugepage",
		"/dev/urandom", "/dev/random",
	},
	toFill: {"/dev/null", "/dev/zero", "/dev/full"},
}

// landlock lets this thread reach no files but those that s names, and the system's.
func (s *shim) landlock() error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return fmt.Errorf("the kernel has no Landlock, or it is turned off (boot with lsm=landlock,…): %w", errno)
	}
	if abi < leastABI {
		return fmt.Errorf("the kernel's Landlock is version %d, which cannot keep files from being emptied: it takes 3 (Linux 6.2)", abi)
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: handled}
	if abi >= 5 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
	}
	set, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return fmt.Errorf("rules of Landlock: %w", errno)
	}
	defer unix.Close(int(set))
	grant := func(rights uint64, must bool, paths ...string) error {
		for _, path := range paths {
			if err := rule(int(set), path, rights&attr.Handled_access_fs); err != nil && must {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		return nil
	}
	for rights, paths := range system {
		if err := grant(rights, false, paths...); err != nil {
			return err
		}
	}
	if err := grant(toUse, false, s.only...); err != nil {
		return err
	}
	if err := grant(toUse, true, s.read...); err != nil {
		return err
	}
	if err := grant(toWrite, true, s.write...); err != nil {
		return err
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, set, 0, 0); errno != 0 {
		return fmt.Errorf("entering Landlock: %w", errno)
	}
	return nil
}

// rule lets what is at path, and below it, be used.
func rule(set int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= onFiles
	}
	at := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(set), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&at)), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
