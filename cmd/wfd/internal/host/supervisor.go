package host

import (
	"context"
	"net/http"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
)

// supervisor is who has started the daemon and wants to know how it is: systemd, by
// sd_notify. Without one nothing is said.
type supervisor struct{ h *Host }

func (s supervisor) say(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.h.slog.Warn("the service manager was not told", "state", state, "error", err)
	}
}

func (s supervisor) ready()    { s.say(daemon.SdNotifyReady) }
func (s supervisor) stopping() { s.say(daemon.SdNotifyStopping) }

// watch feeds the watchdog, if there is one, until ctx ends: as long as the engine has
// not failed and the API answers. A daemon that hangs is killed, which loses nothing,
// and started again.
func (s supervisor) watch(ctx context.Context) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.h.slog.Warn("there is no watchdog", "error", err)
	}
	if err != nil || every <= 0 {
		return
	}
	t := time.NewTicker(every / 3)
	defer t.Stop()
	c := &http.Client{Transport: api.Inside(s.h.API, "system"), Timeout: every}
	for {
		if s.h.Engine.Failed() == nil && answers(c) {
			s.say(daemon.SdNotifyWatchdog)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// answers asks the API what anybody may ask.
func answers(c *http.Client) bool {
	r, err := c.Get("http://localhost/livez")
	if err != nil {
		return false
	}
	r.Body.Close()
	return r.StatusCode == http.StatusOK
}
