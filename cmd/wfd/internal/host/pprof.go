package host

import (
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
)

// ServeProfiles serves the process's profiles at addr, which must be of this machine
// alone: what they show, memory with what agents and people said in it, is for whoever
// runs the process. It returns the address, and what ends it.
func ServeProfiles(addr string) (string, func(), error) {
	if !loopback(addr) {
		return "", nil, fmt.Errorf("address %q can be reached by others: profiles are for this machine alone, as at 127.0.0.1:6060", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	s := &http.Server{ReadHeaderTimeout: headerTime, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A page of another site can have a name of its own point here.
		if !loopback(r.Host) {
			http.Error(w, "not by this name", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l)
	}()
	return l.Addr().String(), func() {
		s.Close()
		<-done
	}, nil
}

// loopback reports whether host:port is of this machine alone.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
