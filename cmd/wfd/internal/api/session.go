package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// sessionTime is how long a page that was given the token goes on without it.
const sessionTime = 30 * 24 * time.Hour

// sessionBody is what opens a session.
type sessionBody struct {
	Token string `json:"token"`
}

// session gives the page a cookie for the token, once it has shown that it has it. No
// script can read the cookie, no other site can send it, and it does not have the
// token: it is a date and what only who has the token can make of that. So it holds
// over a restart, and ends with the token.
func (a *API) session(w http.ResponseWriter, r *http.Request) {
	var body sessionBody
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&body); err != nil {
		writeProblem(w, problem("malformed", "the body is not JSON with a token: "+err.Error(), ""))
		return
	}
	if a.o.Token != "" && !sameToken(body.Token, a.o.Token) {
		writeProblem(w, problem("unauthorized", "that is not the daemon's token", "it is what the daemon was started with: --token or WFD_TOKEN"))
		return
	}
	if a.o.Token != "" {
		until := time.Now().Add(sessionTime).Unix()
		http.SetCookie(w, &http.Cookie{
			Name: sessionName(r), Value: fmt.Sprintf("%d.%s", until, a.sessionSeal(until)), Path: "/",
			MaxAge: int(sessionTime / time.Second), HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
		})
	}
	w.WriteHeader(http.StatusNoContent)
}

// sessionName tells the daemons of one host apart: cookies do not know of ports.
func sessionName(r *http.Request) string {
	_, port, _ := net.SplitHostPort(r.Host)
	return "wfd-session-" + port
}

func (a *API) sessionSeal(until int64) string {
	m := hmac.New(sha256.New, []byte(a.o.Token))
	fmt.Fprintf(m, "wfd page session until %d", until)
	return hex.EncodeToString(m.Sum(nil))
}

func (a *API) hasSession(r *http.Request) bool {
	c, err := r.Cookie(sessionName(r))
	if err != nil {
		return false
	}
	date, seal, _ := strings.Cut(c.Value, ".")
	until, err := strconv.ParseInt(date, 10, 64)
	return err == nil && time.Now().Unix() < until && hmac.Equal([]byte(seal), []byte(a.sessionSeal(until)))
}
