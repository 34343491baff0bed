package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// denied are system calls that reach into other processes or the kernel, or undo the
// sandbox.
var denied = []uint32{
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_QUOTACTL,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_BPF, unix.SYS_USERFAULTFD, unix.SYS_PERF_EVENT_OPEN,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF,
	unix.SYS_ACCT, unix.SYS_SYSLOG, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME,
}

// newNamespaces are the flags of clone that make them.
const newNamespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// archs are those whose numbers of system calls these are, by the kernel's names.
var archs = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64, "riscv64": unix.AUDIT_ARCH_RISCV64}

// families of sockets that a program with the network has. Others lead to services of
// this machine that do more than their caller may.
var families = []uint32{unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

// Places in what the filter is given, struct seccomp_data, on a machine that puts the low
// end first.
const (
	atNumber = 0
	atArch   = 4
	atFirst  = 16 // the low half of the first argument
)

// filter puts this thread, and what it begins, under the deny list.
func filter(network bool) error {
	arch, ok := archs[runtime.GOARCH]
	if !ok {
		return fmt.Errorf("there is no list of system calls for %s", runtime.GOARCH)
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	jump := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | op, K: k, Jt: yes, Jf: no}
	}
	end := func(with uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: with} }
	const allow = unix.SECCOMP_RET_ALLOW
	fail := func(e unix.Errno) unix.SockFilter { return end(unix.SECCOMP_RET_ERRNO | uint32(e)) }
	f := []unix.SockFilter{
		load(atArch), jump(unix.BPF_JEQ, arch, 1, 0), end(unix.SECCOMP_RET_KILL_PROCESS), // another table of calls
		load(atNumber), jump(unix.BPF_JGE, 0x40000000, 0, 1), fail(unix.ENOSYS), // and x32 is one, too
	}
	for _, nr := range denied {
		f = append(f, jump(unix.BPF_JEQ, nr, 0, 1), fail(unix.EPERM))
	}
	// What is in memory cannot be looked at: who makes do with clone is told so.
	f = append(f, jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), fail(unix.ENOSYS))
	f = append(f, jump(unix.BPF_JEQ, unix.SYS_CLONE, 0, 4), load(atFirst), jump(unix.BPF_JSET, newNamespaces, 0, 1), fail(unix.EPERM), end(allow))
	// Limits of another process are none of its business.
	f = append(f, jump(unix.BPF_JEQ, unix.SYS_PRLIMIT64, 0, 4), load(atFirst), jump(unix.BPF_JEQ, 0, 1, 0), fail(unix.EPERM), end(allow))
	open := families
	if !network {
		open = nil
	}
	f = append(f, jump(unix.BPF_JEQ, unix.SYS_SOCKET, 0, uint8(2+2*len(open))), load(atFirst))
	for _, family := range open {
		f = append(f, jump(unix.BPF_JEQ, family, 0, 1), end(allow))
	}
	f = append(f, fail(unix.EACCES), end(allow))
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	if _, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		return fmt.Errorf("a filter of system calls: %w", errno)
	}
	return nil
}
