package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"
)

// fromOutside are the flags that can also be set by WFD_* and by the config
// file. The others belong to one call.
var fromOutside = slices.Concat([]string{"addr", "token", "namespace", "data", "key-file", "config", "output", "log-format", "log-level"}, insideFlags, []string{
	"auth", "host", "jwt-issuer", "jwt-audience", "jwt-keys", "tls-cert", "tls-key", "tls-ca", "pprof", "otlp", "otlp-content",
})

// outside marks those of the insideFlags that can be set so: a command may have another
// one by the same name, which cannot.
const outside = "outside"

func setOutside(f *pflag.FlagSet, names ...string) {
	for _, name := range names {
		f.SetAnnotation(name, outside, nil) // there is one
	}
}

// A source is where a setting comes from; the greater one counts.
type source int

const (
	nowhere source = iota
	theFile
	theEnv
	aFlag
)

// settings completes the flags: a flag counts before WFD_*, and that before the
// file.
func (a *app) settings(cmd *cobra.Command) error {
	f := cmd.Flags()
	if _, err := fromEnv(f, "config"); err != nil {
		return err
	}
	a.sources = map[string]source{}
	file, err := a.readConfig()
	if err != nil {
		return err
	}
	for _, name := range fromOutside {
		flag, v := f.Lookup(name), file[name]
		if flag == nil {
			continue
		}
		if _, marked := flag.Annotations[outside]; !marked && slices.Contains(insideFlags, name) {
			continue
		}
		if flag.Changed {
			a.sources[name] = aFlag
			continue
		}
		set, err := fromEnv(f, name)
		switch {
		case err != nil:
			return err
		case set:
			a.sources[name] = theEnv
		case v != nil:
			if err := setAll(f, flag, v); err != nil {
				return usagef("%s: %s: %w", a.config, name, err)
			}
			a.sources[name] = theFile
		}
	}
	return nil
}

func envName(flag string) string {
	return "WFD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fromEnv sets a flag from its variable, if there is one.
func fromEnv(f *pflag.FlagSet, name string) (bool, error) {
	flag := f.Lookup(name)
	v := os.Getenv(envName(name))
	if flag == nil || flag.Changed || v == "" {
		return false, nil
	}
	if err := f.Set(name, v); err != nil {
		return false, usagef("%s=%q: %w", envName(name), v, err)
	}
	return true, nil
}

// setAll sets a flag from a value of the file; a list sets a repeatable flag.
func setAll(f *pflag.FlagSet, flag *pflag.Flag, v any) error {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, x := range list {
		switch x.(type) {
		case string, bool, int, int64, float64:
		default:
			return fmt.Errorf("%v is not a value for it", x)
		}
		if err := f.Set(flag.Name, fmt.Sprint(x)); err != nil {
			return err
		}
	}
	return nil
}

// readConfig reads the file of --config, or else $XDG_CONFIG_HOME/wfd/config.yaml
// if there is one.
func (a *app) readConfig() (map[string]any, error) {
	asked := a.config != ""
	if !asked {
		dir, err := os.UserConfigDir()
		if err != nil {
			return nil, nil // no home: no file
		}
		a.config = filepath.Join(dir, "wfd", "config.yaml")
	}
	b, err := os.ReadFile(a.config)
	if errors.Is(err, fs.ErrNotExist) && !asked {
		return nil, nil
	}
	if err != nil {
		return nil, usagef("config: %w", err)
	}
	var m map[string]any
	if err := yaml.NewDecoder(bytes.NewReader(b)).Decode(&m); err != nil && len(bytes.TrimSpace(b)) > 0 {
		return nil, usagef("config %s: %w", a.config, err)
	}
	for k := range m {
		if k == "config" || !slices.Contains(fromOutside, k) {
			return nil, usagef("config %s: %q is not a setting; there are %s", a.config, k, strings.Join(fromOutside, ", "))
		}
	}
	return m, nil
}

// defaultData is the data directory of somebody who names none.
func defaultData() (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "wfd"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usagef("there is no home directory for the data: %w; use --data", err)
	}
	return filepath.Join(home, ".local", "share", "wfd"), nil
}
