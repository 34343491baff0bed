// Package crash kills the real daemon and looks whether it kept its word.
//
// A seeded workload over all node kinds talks to a daemon over HTTP and writes
// down what the daemon acknowledged. The daemon is killed with SIGKILL, at a
// random moment or at a failpoint around a commit of the log, and started again
// on the same directory, many times. Between kills the directory is checked
// offline. In the end every acknowledged start must be a run, every
// acknowledged signal and answer must be in its history once, every run must
// come to its end, and no node may have completed twice or run again after it
// completed.
//
// The tests hold the harness to account too: one hands it a directory from which
// acknowledged events are missing, and wants it to notice; and a run with too little
// traffic fails.
package crash
