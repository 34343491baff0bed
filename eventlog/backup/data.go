package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// dataSource is a data directory, which is read as it is, and not changed.
type dataSource struct {
	db *eventlog.DB
	h  Header
	c  audit.Copy
}

func openData(dir string, keys crypt.Keys) (_ source, err error) {
	db, err := eventlog.Open(dir, eventlog.Options{ReadOnly: true, Keys: keys})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	s := &dataSource{db: db}
	a, err := audit.Open(dir, db, audit.Options{ReadOnly: true})
	if err == nil {
		s.h.Origin = a.Origin()
		s.c, err = a.Copy(true)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // no key: it was never signed
		return nil, err
	}
	size, root := db.TreeHead()
	if size == 0 {
		return nil, ErrEmpty
	}
	s.h.Format, s.h.Head, s.h.Root = format, eventlog.Seq(size), Hash(root)
	s.h.Made, s.h.Checkpoint = time.Now().UTC(), string(s.c.Note)
	return s, nil
}

func (s *dataSource) header() Header { return s.h }
func (s *dataSource) close() error   { return s.db.Close() }

func (s *dataSource) each(ctx context.Context, want func(string) bool, fn func(File, io.Reader) error) error {
	sn, err := s.db.Snapshot(uint64(s.h.Head), s.h.Root)
	if err != nil {
		return err
	}
	defer sn.Close()
	err = sn.Each(func(p eventlog.Piece) error {
		if !want(p.Name) {
			return nil
		}
		f := File{Path: p.Name, Size: p.Size}
		if p.Sum != nil {
			f.Sum = *p.Sum
		}
		r, err := p.Open()
		if err != nil {
			return err
		}
		return errors.Join(compared(f, contextReader{ctx, r}, fn), r.Close())
	})
	for _, name := range auditNames {
		b, ok := s.c.Files[name]
		if err == nil && ok && want(name) {
			err = fn(File{Path: name, Size: int64(len(b))}, bytes.NewReader(b))
		}
	}
	return err
}
