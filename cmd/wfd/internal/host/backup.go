package host

import (
	"errors"
	"io/fs"

	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/backup"
)

// backup returns what a backup of the directory is made of.
func (s *auditing) backup(withKey bool) backup.Source {
	return backup.Source{Log: s.log, Copy: func() (audit.Copy, error) { return s.copy(withKey) }}
}

// copy signs the log and copies what it was signed for. Where that cannot be, as it
// is a log that is not what was signed for, what there is is copied: a backup of it
// is better than none.
func (s *auditing) copy(withKey bool) (audit.Copy, error) {
	a, err := s.Auditor()
	if err == nil {
		var c audit.Copy
		if c, err = a.Copy(withKey); err == nil {
			return c, nil
		}
	}
	s.slog.Warn("the backup is not signed for", "error", err)
	if a == nil {
		if a, err = audit.Open(s.dir, s.log, audit.Options{ReadOnly: true, Logger: s.slog}); errors.Is(err, fs.ErrNotExist) {
			return audit.Copy{}, nil // there is nothing yet
		} else if err != nil {
			return audit.Copy{}, err
		}
	}
	return a.CopyUnsigned(withKey)
}
