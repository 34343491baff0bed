//go:build !linux

package sandbox

import (
	"errors"
	"os/exec"
)

const self = "" // never run

func isolate(*exec.Cmd, Box) {}

// Can says why programs cannot be run at a level here.
func Can(l Level) error {
	if l == None {
		return nil
	}
	return errors.New("it takes Linux")
}
