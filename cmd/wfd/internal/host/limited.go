package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/limits"
)

const (
	// maxConns bounds the connections, each of which costs a goroutine and
	// buffers; the streams are among them.
	maxConns = 2048
	// ownFiles are kept from connections where few files may be open: for the log, and the
	// pipes of programs.
	ownFiles = 24
	// placeTime is how long a connection waits for one of the others to end.
	placeTime = time.Second
	// farewellTime and maxFarewells bound what those cost who are turned away.
	farewellTime = 200 * time.Millisecond
	maxFarewells = 8
	// tellEvery is how often the log tells that somebody is.
	tellEvery = time.Minute
)

// places returns how many connections there may be: half of what files are left is for them.
func places() int {
	n, ok := limits.Files()
	if !ok {
		return maxConns
	}
	return int(min(max(n, ownFiles+8)-ownFiles, 2*maxConns)) / 2
}

// limited is a listener with a bound on connections. Who comes when there is no place, and
// when the process may open no more files, is told so and turned away. For that one file is
// held in reserve: with none, not even the connection could be taken that is to be refused,
// and whoever is behind it would wait for an answer that nobody gives.
type limited struct {
	net.Listener
	places    chan struct{}
	farewells chan struct{} // of those who are being turned away since there is no place
	plain     bool          // what is written to a connection is read as it is, and not as TLS
	log       *slog.Logger

	// Of Accept, which one goroutine calls.
	spare  *os.File
	told   time.Time
	turned int       // since then
	last   time.Time // that somebody was turned away
}

func newLimited(l net.Listener, places int, plain bool, log *slog.Logger) *limited {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	x := &limited{Listener: l, places: make(chan struct{}, places), farewells: make(chan struct{}, maxFarewells), plain: plain, log: log}
	x.reserve()
	return x
}

// reserve opens the file that is given up for a connection. Without one Accept tries again
// as it is called again.
func (l *limited) reserve() {
	if l.spare == nil {
		l.spare, _ = os.Open(os.DevNull)
	}
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			l.reserve()
			if l.place() {
				return &counted{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
			}
			why := fmt.Sprintf("there are %d connections already", cap(l.places))
			l.tell(why)
			select {
			case l.farewells <- struct{}{}:
				go func() {
					l.turnAway(c, why)
					<-l.farewells
				}()
			default:
				c.Close() // too many at once for each to be told
			}
			continue
		}
		if !limitOf(err) || l.spare == nil {
			l.reserve()
			return nil, err // the server waits a little and tries again
		}
		l.spare.Close()
		l.spare = nil
		// Whoever it was may have gone, and the file with him to somebody else.
		if d, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok {
			d.SetDeadline(time.Now().Add(farewellTime))
			c, err2 := l.Listener.Accept()
			d.SetDeadline(time.Time{})
			if err2 == nil {
				l.tell(err.Error())
				l.turnAway(c, err.Error())
				err = nil
			}
		}
		l.reserve()
		if err != nil {
			return nil, err
		}
	}
}

// place takes a place, if there is one soon.
func (l *limited) place() bool {
	select {
	case l.places <- struct{}{}:
		return true
	default:
	}
	if time.Since(l.last) < placeTime {
		return false // they are many: the next ones would wait for those before them, too
	}
	wait := time.NewTimer(placeTime)
	defer wait.Stop()
	select {
	case l.places <- struct{}{}:
		return true
	case <-wait.C:
		return false
	}
}

func limitOf(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// tell has the log tell that somebody is turned away, now and then.
func (l *limited) tell(why string) {
	l.last = time.Now()
	if l.turned++; time.Since(l.told) >= tellEvery {
		l.log.Warn("connections are turned away", "because", why, "how many", l.turned, "limit", cap(l.places))
		l.told, l.turned = time.Now(), 0
	}
}

// turnAway answers a connection that cannot be served, and ends it.
func (l *limited) turnAway(c net.Conn, why string) {
	defer c.Close()
	if !l.plain {
		return
	}
	c.SetDeadline(time.Now().Add(farewellTime))
	// An answer that comes before the request is none to most clients.
	c.Read(make([]byte, 1<<10))
	c.SetDeadline(time.Now().Add(farewellTime))
	p := api.Busy(why, "repeat the request a little later; where few files may be open, let the daemon open more (ulimit -n)")
	body, err := json.Marshal(p)
	if err != nil {
		return
	}
	fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%s",
		p.Status, http.StatusText(p.Status), p.ContentType(""), len(body), body)
	// To close a connection with a request unread would take the answer back.
	if w, ok := c.(interface{ CloseWrite() error }); ok && w.CloseWrite() == nil {
		io.Copy(io.Discard, c)
	}
}

type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
