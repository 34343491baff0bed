package main

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
)

var errNoBrowser = errors.New("there is none here")

// hasBrowser reports whether whoever started this process looks at a screen that a
// browser can be opened on.
func hasBrowser() bool {
	if os.Getenv("CI") != "" || os.Getenv("SSH_CONNECTION") != "" {
		return false
	}
	name, _ := opener()
	if _, err := exec.LookPath(name); err != nil {
		return false
	}
	return runtime.GOOS != "linux" || os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
}

func opener() (name string, args []string) {
	switch runtime.GOOS {
	case "darwin":
		return "open", nil
	case "windows":
		return "rundll32", []string{"url.dll,FileProtocolHandler"}
	}
	return "xdg-open", nil
}

// browse opens a URL in the browser of the desktop, and does not wait for it.
func browse(url string) error {
	if !hasBrowser() {
		return errNoBrowser
	}
	name, args := opener()
	cmd := exec.Command(name, append(args, url)...)
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait()
	return nil
}
