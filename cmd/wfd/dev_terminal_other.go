//go:build !linux

package main

import "os"

// terminal: keys are for systems on which a terminal can be asked who reads from it;
// elsewhere --keys takes them, each with its line.
func terminal(*os.File) bool { return false }

func byKey(*os.File) (restore func()) { return func() {} }
