// Command wfd runs workflows durably: the daemon, and the command line to it.
//
// Every command speaks to the HTTP API: of the daemon at --addr, or of an engine
// in this process on the directory of --data. Data goes to standard output and
// everything else to standard error. docs/operations.md lists the exit codes.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end, the second one ends at once.
	context.AfterFunc(ctx, stop)
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(a.exit(a.run(ctx, os.Args[1:])))
}
