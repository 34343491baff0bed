package eventlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden files; a change to them is a change of the format on disk")

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: the format has changed\ngot:\n%s\nwant:\n%s", name, got, want)
	}
}

func drawRecord(t *rapid.T) *record {
	r := &record{
		version: Version(rapid.Uint64Range(1, math.MaxInt64).Draw(t, "version")),
		time:    rapid.Int64Range(1, math.MaxInt64).Draw(t, "time"),
		kind:    Kind(rapid.Uint16Range(1, math.MaxUint16).Draw(t, "kind")),
		actor:   rapid.StringN(-1, 64, MaxActor).Draw(t, "actor"),
		append:  AppendID(rapid.Uint64Range(1, math.MaxUint64).Draw(t, "append")),
		form:    payloadForm(rapid.IntRange(0, 2).Draw(t, "form")),
	}
	copy(r.run[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "run"))
	r.run[0] |= 1
	copy(r.salt[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "salt"))
	if r.form == payloadInline {
		n := rapid.SampledFrom([]int{0, 1, 31, 32, 255, 256, 65535, 65536}).Draw(t, "size")
		r.payload = bytes.Repeat([]byte{rapid.Byte().Draw(t, "fill")}, n)
		return r
	}
	copy(r.hash[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash"))
	if r.form == payloadErased && rapid.Bool().Draw(t, "rest") {
		r.payload = rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "left")
	}
	if r.form == payloadBlob {
		r.blob.size = rapid.Uint64Range(0, MaxPayload).Draw(t, "size")
		copy(r.blob.sum[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "sum"))
	}
	return r
}

// reference encodes r with the library, as the record's definition says.
func reference(t interface{ Fatal(...any) }, r *record) []byte {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(e.EncodeArrayLen(8))
	must(e.EncodeBytes(r.run[:]))
	must(e.EncodeUint(uint64(r.version)))
	must(e.EncodeInt(r.time))
	must(e.EncodeUint(uint64(r.kind)))
	must(e.EncodeString(r.actor))
	must(e.EncodeUint(uint64(r.append)))
	must(e.EncodeBytes(r.salt[:]))
	switch r.form {
	case payloadInline:
		must(e.EncodeBytes(r.payload))
	case payloadBlob:
		must(e.EncodeArrayLen(3))
		must(e.EncodeUint(r.blob.size))
		must(e.EncodeBytes(r.blob.sum[:]))
		must(e.EncodeBytes(r.hash[:]))
	case payloadErased:
		if r.payload == nil {
			must(e.EncodeArrayLen(1))
			must(e.EncodeBytes(r.hash[:]))
		} else {
			must(e.EncodeArrayLen(2))
			must(e.EncodeBytes(r.hash[:]))
			must(e.EncodeBytes(r.payload))
		}
	}
	return buf.Bytes()
}

func TestRecordIsMessagePack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		b := r.appendTo(nil)
		if want := reference(t, r); !bytes.Equal(b[crcLen:], want) {
			t.Fatalf("record is\n%x\nthe library writes\n%x", b[crcLen:], want)
		}
		var got record
		if err := parseRecord(b, &got); err != nil {
			t.Fatal(err)
		}
		if got.payload == nil {
			got.payload = r.payload
		}
		if !bytes.Equal(got.appendTo(nil), b) || got.run != r.run || got.version != r.version || got.actor != r.actor || got.form != r.form {
			t.Fatalf("came back as %+v", got)
		}
	})
}

func TestRecordRefusesEveryBitFlip(t *testing.T) {
	r := sampleRecords()[1]
	b := r.appendTo(nil)
	var got record
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if err := parseRecord(b, &got); err == nil {
			t.Errorf("bit %d flipped and accepted", i)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range b {
		if err := parseRecord(b[:n], &got); err == nil {
			t.Errorf("cut to %d bytes and accepted", n)
		}
	}
}

// sampleArchive has three frames: two of a run, one of another.
func sampleArchive(t testing.TB) []byte {
	var buf bytes.Buffer
	w, err := newArchiveWriter(&buf, nil)
	for v := Version(1); v <= 4 && err == nil; v++ {
		payload := bytes.Repeat([]byte{byte(v)}, 300*int(v))
		if v == 3 {
			payload = make([]byte, frameBytes)
		}
		err = w.add(&Event{Run: RunID{1, 15: 2}, Version: v, Salt: [16]byte{byte(v)}, Payload: payload})
	}
	if err == nil {
		err = w.add(&Event{Run: RunID{3, 15: 4}, Version: 9, Salt: [16]byte{9}, Payload: []byte("nine")})
	}
	if err == nil {
		err = w.finish()
	}
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// What compresses may change; what was compressed stays readable.
func TestArchiveGolden(t *testing.T) {
	const path = "testdata/archive.golden.wfda"
	if *update {
		if err := os.WriteFile(path, sampleArchive(t), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{whole, sampleArchive(t)} {
		frames, err := readTable(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, fr := range frames {
			events, err := readFrame(bytes.NewReader(b), nil, fr)
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range events {
				sum := sha256.Sum256(e.payload)
				got = append(got, fmt.Sprintf("%d/%d salt %d, %d bytes %x", fr.run[0], fr.first+Version(i), e.salt[0], len(e.payload), sum[:2]))
			}
		}
		want := []string{
			"1/1 salt 1, 300 bytes 893c", "1/2 salt 2, 600 bytes 08fe", "1/3 salt 3, 1048576 bytes 30e1",
			"1/4 salt 4, 1200 bytes eafd", "3/9 salt 9, 4 bytes edcd",
		}
		if len(frames) != 3 || !slices.Equal(got, want) {
			t.Errorf("%d frames:\n%s", len(frames), strings.Join(got, "\n"))
		}
	}
}

// An archive is read from a disk that others may write to.
func FuzzArchive(f *testing.F) {
	f.Add(sampleArchive(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		frames, err := readTable(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for _, fr := range frames[:min(len(frames), 4)] {
			if events, err := readFrame(bytes.NewReader(b), nil, fr); err == nil && len(events) != fr.count {
				t.Errorf("%d events in a frame of %d", len(events), fr.count)
			}
		}
	})
}

func TestRunEntry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := runEntry{
			prev: Seq(rapid.Uint64().Draw(t, "prev")), first: Version(rapid.Uint64Range(1, 1<<40).Draw(t, "first")),
			time: rapid.Int64Range(1, math.MaxInt64).Draw(t, "time"),
		}
		at := rapid.Uint32Range(0, 1<<20).Draw(t, "at")
		for range rapid.IntRange(1, 50).Draw(t, "n") {
			e.offs = append(e.offs, at)
			at += rapid.Uint32Range(1, 1<<20).Draw(t, "step")
		}
		run := RunID{1, 2, 3}
		b := e.appendTo(nil, run)
		got, n, err := parseRunEntry(b, run, true)
		if err != nil || n != len(e.offs) || !bytes.Equal(got.appendTo(nil, run), b) {
			t.Fatalf("%+v came back as %+v, %v", e, got, err)
		}
		if _, _, err := parseRunEntry(b, RunID{1, 2, 4}, true); err == nil {
			t.Fatal("accepted under the key of another run")
		}
	})
}

func TestBloom(t *testing.T) {
	const n = 5000
	id := func(i int) RunID { return RunID{0: byte(i >> 16), 1: byte(i >> 8), 2: byte(i), 15: 7} }
	for _, c := range []struct{ bits, most int }{{10, n / 50}, {bloomBits, n / 500}} {
		b := newBloom(n * c.bits / bloomBits) // those of older builds had ten
		for i := range n {
			b.add(id(i))
		}
		b.seal()
		b, err := parseBloom(b)
		if err != nil {
			t.Fatal(err)
		}
		wrong := 0
		for i := range n {
			if !b.has(probesOf(id(i))) {
				t.Fatalf("run %d was added and is not there", i)
			}
			if b.has(probesOf(id(n + i))) {
				wrong++
			}
		}
		if wrong > c.most {
			t.Errorf("%d bits a run: %d of %d strangers pass", c.bits, wrong, n)
		}
	}
}

func sampleRecords() []record {
	run := RunID{1, 0x8f, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	salt := [16]byte{0xa0, 15: 0xaf}
	return []record{
		{run: run, version: 1, time: 1, kind: 1, append: 1, salt: salt, payload: []byte{}},
		{run: run, version: 300, time: 1_700_000_000_123_456_789, kind: 1000, actor: "user:anna", append: math.MaxUint64, salt: salt, payload: []byte("\x93payload")},
		{run: System("defs"), version: 70000, time: 1 << 33, kind: 65535, actor: strings.Repeat("x", 40), append: 1 << 20, salt: salt, payload: bytes.Repeat([]byte{7}, 300)},
		{run: run, version: 2, time: 2, kind: 2, actor: "engine", append: 2, salt: salt, form: payloadBlob, blob: blobRef{size: 70000, sum: [32]byte{1, 31: 2}}, hash: [32]byte{3, 31: 4}},
		{run: run, version: 3, time: 3, kind: 3, actor: "engine", append: 3, salt: salt, form: payloadErased, hash: [32]byte{3, 31: 4}},
	}
}

func TestRecordGolden(t *testing.T) {
	var out strings.Builder
	rest := sampleRecords()[4]
	rest.payload = []byte{0x92, 1, 0xc0}
	for _, r := range append(sampleRecords(), rest) {
		leaf := r.leaf()
		out.WriteString(hex.EncodeToString(r.appendTo(nil)) + "\n  leaf " + hex.EncodeToString(leaf[:]) + "\n")
	}
	golden(t, "record.golden", out.String())
}

func sampleChunk(head *treeHead) []byte {
	w := chunkWriter{first: 1000}
	for _, r := range sampleRecords() {
		w.add(r.appendTo(nil), r.form == payloadBlob)
	}
	return w.finish(nil, head)
}

func TestChunkGolden(t *testing.T) {
	golden(t, "chunk.golden", hex.Dump(sampleChunk(nil))+"\n"+hex.Dump(sampleChunk(&treeHead{size: 1004, root: [32]byte{9, 31: 8}, time: 1 << 40})))
}

func TestChunkHeaderRefusesEveryBitFlip(t *testing.T) {
	b := sampleChunk(&treeHead{size: 1004, time: 5})
	header := len(b) - func() int { c, _ := parseChunk(b, nil); return len(c.body) }()
	for i := range header * 8 {
		b[i/8] ^= 1 << (i % 8)
		if _, err := parseChunk(b, nil); err == nil {
			t.Errorf("bit %d flipped and accepted", i)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range b {
		if _, err := parseChunk(b[:n], nil); err == nil {
			t.Errorf("cut to %d bytes and accepted", n)
		}
	}
}

// Whatever the bytes, parsing ends in an error or in a record that encodes to
// the same bytes.
func FuzzRecord(f *testing.F) {
	for _, r := range sampleRecords() {
		f.Add(r.appendTo(nil)[crcLen:])
	}
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Add(append([]byte{0x98, 0xc6, 0xff, 0xff, 0xff, 0xff}, make([]byte, 64)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := checksum(b) // as if the checksum did not protect us
		b = append([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}, b...)
		var r record
		if parseRecord(b, &r) == nil && !bytes.Equal(r.appendTo(nil), b) {
			t.Errorf("%x is accepted and encodes to %x", b, r.appendTo(nil))
		}
	})
}

func FuzzChunk(f *testing.F) {
	f.Add(sampleChunk(nil), true)
	f.Add(sampleChunk(&treeHead{size: 1004}), false)
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		if len(b) >= chunkFixed && fix {
			n := chunkFixed + 2*(int(b[16])<<8|int(b[17])) + int(b[2]&flagHead)*headLen
			if n <= len(b) {
				sum := headerSum(b[:n])
				b = append([]byte(nil), b...)
				b[20], b[21], b[22], b[23] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
			}
		}
		c, err := parseChunk(b, nil)
		if err != nil {
			return
		}
		var r record
		for i := range c.count {
			c.parse(i, &r)
		}
	})
}

func FuzzPages(f *testing.F) {
	path := filepath.Join(f.TempDir(), "s")
	err := createStore(path, "s", func(tx storeTx) error {
		for i := range 200 {
			if err := tx.put(bucketChunks, seqKey(Seq(i)), bytes.Repeat([]byte{1}, 100)); err != nil {
				return err
			}
		}
		return tx.put(bucketMeta, keyFormat, formatValue)
	}, bucketMeta, bucketChunks)
	if err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(4096*3), uint64(3), uint32(len(whole)))
	f.Add(uint32(16), uint64(0), uint32(len(whole)/2))
	f.Fuzz(func(t *testing.T, at uint32, v uint64, size uint32) {
		b := bytes.Clone(whole)
		if n := int(at) % len(b); n+8 <= len(b) {
			binary.LittleEndian.PutUint64(b[n:], v)
		}
		b = b[:min(int(size), len(b))]
		checkPages(bytes.NewReader(b), int64(len(b)), true)
		checkPages(bytes.NewReader(b), int64(len(b)), false)
	})
}
