package api

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"time"
)

// sessionTime is how long a page that was given a token goes on without it.
const sessionTime = 30 * 24 * time.Hour

// sessionBody is what opens a session.
type sessionBody struct {
	Token string `json:"token"`
}

// session gives the page a cookie with a token that was shown to be good. No script can
// read the cookie, and no other site can have it sent. It is looked at with each request
// as a token in a header is: so it holds over a restart, and ends with the token.
func (a *API) session(w http.ResponseWriter, r *http.Request) {
	var body sessionBody
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 32<<10)).Decode(&body); err != nil {
		writeProblem(w, problem("malformed", "the body is not JSON with a token: "+err.Error(), ""))
		return
	}
	if a.asks() {
		if _, err := a.bearer(r, body.Token); err != nil {
			writeProblem(w, AsProblem(err))
			return
		}
		http.SetCookie(w, &http.Cookie{
			Name: sessionName(r), Value: base64.RawURLEncoding.EncodeToString([]byte(body.Token)), Path: "/",
			MaxAge: int(sessionTime / time.Second), HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
		})
	}
	w.WriteHeader(http.StatusNoContent)
}

// endSession takes the cookie back. The token is as good as before: tokens are ended by
// who made them.
func (a *API) endSession(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: sessionName(r), Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
	w.WriteHeader(http.StatusNoContent)
}

// sessionName tells the daemons of one host apart: cookies do not know of ports.
func sessionName(r *http.Request) string {
	_, port, _ := net.SplitHostPort(r.Host)
	return "wfd-session-" + port
}

// sessionToken returns the token of a page's session, "" if it has none.
func sessionToken(r *http.Request) string {
	c, err := r.Cookie(sessionName(r))
	if err != nil {
		return ""
	}
	token, _ := base64.RawURLEncoding.DecodeString(c.Value) // what is no token is refused as such
	return string(token)
}
