package capsule_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"math/rand/v2"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/replay"
	"github.com/wfd-dev/wfd/replay/capsule"
)

// mislead sets one field of a payload, at random, to what no history has there.
func mislead(rng *rand.Rand, v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return !v.IsNil() && mislead(rng, v.Elem())
	case reflect.Struct:
		for _, i := range rng.Perm(v.NumField()) {
			if mislead(rng, v.Field(i)) {
				return true
			}
		}
		return false
	case reflect.Int, reflect.Int64:
		v.SetInt([]int64{-1, 0, 1, 2, 7, 1 << 20, 1 << 40, -1 << 63, 1<<63 - 1}[rng.IntN(9)])
	case reflect.Uint64:
		v.SetUint([]uint64{0, 1, 2, 1 << 40, 1<<63 - 1}[rng.IntN(5)])
	case reflect.String:
		v.SetString([]string{"", "plan", "sub", "kids", "each", "each[0]", "each[99999999]", "kids[1]", "done", "no such node", "a[b]"}[rng.IntN(11)])
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[event.Value]() {
			v.Set(reflect.ValueOf([]event.Value{nil, event.Null, event.MustValue(1), event.MustValue([]any{}), event.MustValue(map[string]any{"list": "x"})}[rng.IntN(5)]))
			return true
		}
		if v.Len() == 0 {
			return false
		}
		if rng.IntN(2) == 0 {
			v.Set(reflect.Zero(v.Type()))
			return true
		}
		return mislead(rng, v.Index(rng.IntN(v.Len())))
	default:
		return false
	}
	return true
}

// Events that decode and do not fit together lead to an error, not to a panic, and
// take no memory that is out of proportion.
func TestMisleadingPayloads(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, name := range []string{"children", "branches", "restored", "retries"} {
		w := newWorld(t)
		w.history(name)
		bare := w.source()
		bare.Prove = nil
		x, err := capsule.Prepare(context.Background(), bare, w.runs[0], time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := x.Write(context.Background(), &b); err != nil {
			t.Fatal(err)
		}
		whole := lines(t, b.Bytes())
		log := read(t, b.Bytes(), nil).Log()
		var events []eventlog.Event // in the order of the lines
		for _, id := range read(t, b.Bytes(), nil).Runs {
			page, err := log.ReadRun(id, 0, 1000)
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, page...)
		}
		first := len(whole) - 1 - len(events)
		for range 60 {
			i := rng.IntN(len(events))
			p, err := event.Decode(events[i].Kind, events[i].Payload)
			if err != nil {
				t.Fatal(err)
			}
			if !mislead(rng, reflect.ValueOf(p)) {
				continue
			}
			before := base64.StdEncoding.EncodeToString(events[i].Payload)
			bad := slices.Clone(whole)
			if bad[first+i] = strings.Replace(bad[first+i], before, base64.StdEncoding.EncodeToString(event.Encode(p)), 1); bad[first+i] == whole[first+i] {
				continue
			}
			func() {
				defer func() {
					if r := recover(); r != nil {
						t.Errorf("seed %d, %s, %s of version %d, %+v: %v\n%s", seed, name, event.KindName(events[i].Kind), events[i].Version, p, r, debug.Stack())
					}
				}()
				c, err := capsule.Read(bytes.NewReader(seal(t, bad...)), nil)
				if err != nil {
					return
				}
				defs := replay.Registered(c.Log())
				replay.State(c.Log(), c.Run, replay.Position{})
				replay.Frames(c.Log(), c.Run, 0, 10_000)
				replay.Tree(c.Log(), c.Run, 0)
				replay.Verify(c.Log(), defs, c.Run)
				replay.Why(c.Log(), defs, c.Run, "", 0, replay.Position{})
			}()
			if t.Failed() {
				return
			}
		}
	}
}
