package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
)

// cloudEvent is an event in the JSON format of CloudEvents 1.0. Names of
// extensions have lower-case letters only there, and integers 32 bits: so the
// seq and the version are strings.
type cloudEvent struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject"`
	Time            time.Time       `json:"time"`
	Seq             string          `json:"wfdseq"`
	Version         string          `json:"wfdversion"`
	Actor           string          `json:"wfdactor,omitempty"`
	Leaf            hash            `json:"wfdleaf"`
	Withheld        bool            `json:"wfdwithheld,omitempty"`
	DataContentType string          `json:"datacontenttype,omitempty"`
	Data            json.RawMessage `json:"data,omitempty"`
	DataBase64      []byte          `json:"data_base64,omitempty"`
}

type cloudEvents struct {
	w      io.Writer
	o      ExportOptions
	origin string
}

func (x *cloudEvents) begin(eventlog.Seq) error { return nil }

func (x *cloudEvents) end() error { return nil }

func (x *cloudEvents) event(e eventlog.Event, conceal bool) error {
	view, err := x.o.view(e, conceal)
	if err != nil {
		return err
	}
	seq := strconv.FormatUint(uint64(e.Seq), 10)
	out := cloudEvent{
		SpecVersion: "1.0", ID: strings.TrimPrefix(x.origin, originPrefix) + "/" + seq, Source: x.origin,
		Type: fmt.Sprintf("dev.wfd.kind%d.v1", e.Kind), Subject: e.Run.String(), Time: e.When(),
		Seq: seq, Version: strconv.FormatUint(uint64(e.Version), 10), Actor: e.Actor,
		Leaf: eventlog.Leaf(e), Withheld: conceal || e.Erased,
	}
	switch {
	case view != nil:
		out.Type, out.Data = "dev.wfd."+view.Kind+".v1", view.Data
		if view.Data != nil {
			out.DataContentType = "application/json"
		}
	case !out.Withheld:
		out.DataContentType, out.DataBase64 = "application/msgpack", e.Payload
	}
	return writeLine(x.w, out)
}
