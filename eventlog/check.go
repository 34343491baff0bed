package eventlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// CheckOptions for [Check].
type CheckOptions struct {
	// Event is called for every sound event, in order. Where events cannot be
	// read, or are not there, the seqs have a gap.
	Event func(CheckedEvent)
	// Keys open a log that is encrypted.
	Keys crypt.Keys
	// Progress is called now and then with what is being read.
	Progress func(file string, events uint64)
}

// CheckedEvent is an event as [Check] has read it: where, and its leaf computed
// from what is stored.
type CheckedEvent struct {
	File    string
	Seq     Seq
	Run     RunID
	Version Version
	Kind    Kind
	// Payload is what the event itself has of it: nil if it lies in a blob, the rest
	// if it was erased. It is valid during the call.
	Payload []byte
	Leaf    [32]byte
}

// CheckReport is what [Check] found.
type CheckReport struct {
	Segments int
	Events   uint64
	Runs     int
	Blobs    int      // references to blobs
	Archives int      // whose files are whole
	Root     [32]byte // of the tree over the events, if there is no problem
	// Problems are all the places where the log is not as it was written, up
	// to MaxProblems.
	Problems []*CorruptError
	// Unreferenced are files in blobs/ and archives/ that nothing refers to. They
	// do no harm: whoever wrote them died, or was refused, before it said so.
	Unreferenced []string
}

// MaxProblems is where [Check] stops listing problems.
const MaxProblems = 1000

// Err returns the first problem, nil if there is none.
func (r *CheckReport) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	return r.Problems[0]
}

// Check verifies everything the log in dir knows about itself: the structure
// of its files, every checksum, that seqs and versions are dense and times do
// not go back, every index, filter, tree node and tree head, every blob, and what
// archives have of events. It
// changes nothing and is safe on files that are damaged or made to harm. The
// error says that the check could not be made; what it found is in the report.
func Check(dir string, o CheckOptions) (*CheckReport, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir, true)
	if err != nil {
		return nil, err
	}
	defer lock.close(true)
	ring, mended, err := crypt.Load(dir, o.Keys)
	if err != nil && !errors.As(err, new(*crypt.DamageError)) {
		return nil, err
	}
	c := newChecker(dir, ring, o)
	c.problem(ringProblem(mended, err))
	list, ok := c.offlineCatalog()
	if !ok {
		return &c.report, nil
	}
	for i, e := range list {
		s := newSegment(dir, ring, e.first, e.info.start)
		if i == len(list)-1 && !e.info.sealed {
			found, err := s.settle(dir, true)
			c.problem(err)
			if found.older != nil {
				c.problem(found.older)
			}
		}
		if c.pages(s.path, s.name) {
			c.segment(s, e, 0)
		} else {
			c.lost(s)
		}
		c.digest(s, e)
		c.problem(s.close())
	}
	c.finish()
	return &c.report, nil
}

// Check is [Check] on an open log, up to the head at its start. The structure
// of the open segment's file is left out: it is changing.
func (d *DB) Check(o CheckOptions) (*CheckReport, error) {
	head := d.Head()
	segs, err := d.readable()
	if err != nil {
		return nil, err
	}
	c := newChecker(d.dir, d.ring, o)
	list, err := listCatalog(d.catalog)
	c.problem(err)
	c.archived(d.catalog)
	for _, e := range list {
		j := segmentOf(segs, e.first)
		if j < 0 || segs[j].first != e.first {
			break // began after the head
		}
		if e.info.sealed && !c.pages(segs[j].path, segs[j].name) {
			c.lost(segs[j])
			continue
		}
		d.checkSegment(c, segs[j], e, head)
	}
	c.finish()
	return &c.report, nil
}

// checkSegment keeps the segment from being rewritten while it is checked.
func (d *DB) checkSegment(c *checker, s *segment, e catalogEntry, head Seq) {
	d.rewriting.RLock()
	defer d.rewriting.RUnlock()
	c.segment(s, e, head)
	if !e.info.sealed {
		return
	}
	// The digest may be another since the catalog was read.
	row, err := d.digestRow(s)
	c.problem(err)
	e.digest = row
	c.digest(s, e)
}

// checker walks the log in order.
type checker struct {
	dir    string
	opts   CheckOptions
	report CheckReport
	blobs  blobs
	refs   map[string]bool // names of blobs
	packed archivedRuns

	next  Seq // expected
	edge  edge
	known bool // edge is the tree before next
	runs  map[RunID]*checkedRun
}

// checkedRun is where a run stands, and the segment with its last event.
type checkedRun struct {
	head runHead
	seg  Seq
	prev Seq // the segment before seg with events of this run
}

func newChecker(dir string, ring *crypt.Ring, o CheckOptions) *checker {
	return &checker{
		dir: dir, opts: o, blobs: blobs{dir: dir, ring: ring}, refs: make(map[string]bool),
		next: 1, known: true, runs: make(map[RunID]*checkedRun),
	}
}

// problem notes err if it is one.
func (c *checker) problem(err error) {
	if err == nil || len(c.report.Problems) >= MaxProblems {
		return
	}
	c.report.Problems = append(c.report.Problems, asCorrupt(".", err))
}

// asCorrupt returns the CorruptError in err, or makes one about file.
func asCorrupt(file string, err error) *CorruptError {
	var e *CorruptError
	if !errors.As(err, &e) {
		e = &CorruptError{File: file, What: "cannot be checked", Err: err}
	}
	return e
}

func (c *checker) progress(file string) {
	if c.opts.Progress != nil {
		c.opts.Progress(file, c.report.Events)
	}
}

// pages checks the structure of a file that nobody writes to. It does so
// without bbolt, whose own check reads mapped memory in a goroutine where a
// read error of the disk ends the process.
func (c *checker) pages(path, name string) bool {
	c.progress(name)
	err := checkFile(path, true)
	if err != nil {
		c.problem(&CorruptError{File: name, What: "not a sound bbolt file", Err: err})
	}
	return err == nil
}

func (c *checker) offlineCatalog() (list []catalogEntry, ok bool) {
	if !c.pages(filepath.Join(c.dir, catalogName), catalogName) {
		return nil, false
	}
	s, err := openCatalog(c.dir, true)
	if err != nil {
		c.problem(asCorrupt(catalogName, err))
		return nil, false
	}
	defer s.close()
	if _, err := ringFits(s, c.blobs.ring); err != nil {
		c.problem(err)
		return nil, false
	}
	if list, err = listCatalog(s); err != nil {
		c.problem(err)
		return nil, false
	}
	c.archived(s)
	strays, err := strayFiles(c.dir, list)
	c.problem(err)
	for _, first := range strays {
		c.problem(dropStray(c.dir, first, true))
	}
	if n := len(list); n > 0 && list[n-1].info.sealed {
		c.problem(&CorruptError{File: catalogName, Seq: list[n-1].info.last + 1, What: "the open segment is not listed"})
	}
	return list, true
}

// digest compares the file of a sealed segment, every bit of it, with what it
// was when it was sealed. What a bit means has been said by then, where it means
// something.
func (c *checker) digest(s *segment, e catalogEntry) {
	if e.digest.now == (fileDigest{}) {
		return
	}
	is, err := digestOf(s.path)
	if err == nil && is != e.digest.now && is != e.digest.next {
		err = fmt.Errorf("SHA-256 %x of %d bytes, sealed with %x of %d", is.sum, is.size, e.digest.now.sum, e.digest.now.size)
	}
	if err != nil {
		c.problem(&CorruptError{File: s.name, What: "the file is not as it was sealed", Err: err})
	}
}

// archived checks the archives: that each file is what its name says, and that the
// catalog finds in it what is there.
func (c *checker) archived(catalog *store) {
	rows := make(map[ArchiveID]map[frame]bool)
	c.problem(eachFrame(catalog, func(id ArchiveID, fr frame) {
		if rows[id] == nil {
			rows[id] = make(map[frame]bool)
		}
		rows[id][fr] = true
	}))
	for id, known := range rows {
		c.progress(id.name())
		c.problem(c.archive(id, known))
	}
	entries, err := os.ReadDir(filepath.Join(c.dir, archiveDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.problem(err)
	}
	for _, e := range entries {
		if id, ok := parseArchiveName(e.Name()); !ok || rows[id] == nil {
			c.report.Unreferenced = append(c.report.Unreferenced, filepath.Join(archiveDir, e.Name()))
		}
	}
}

func (c *checker) archive(id ArchiveID, known map[frame]bool) error {
	corrupt := func(what string, err error) error {
		return &CorruptError{File: id.name(), What: what, Err: err}
	}
	path := filepath.Join(c.dir, id.name())
	is, err := digestOf(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return corrupt("the archive is missing", nil)
	case err != nil:
		return corrupt("the archive cannot be read", err)
	case is.sum != id:
		return corrupt("the archive is not as it was written", nil)
	}
	f, frames, err := openArchive(path)
	if err != nil {
		return corrupt("archive", err)
	}
	defer f.Close()
	c.report.Archives++
	for _, fr := range frames {
		if known[fr] {
			c.packed.add(id, fr)
			delete(known, fr)
		}
	}
	if len(known) > 0 {
		return corrupt(fmt.Sprintf("%d parts that the catalog looks for in it are not there", len(known)), nil)
	}
	return nil
}

// lost goes on after a segment that cannot be read.
func (c *checker) lost(s *segment) {
	c.report.Segments++
	c.known = false
	c.next = 0 // the next segment says where it begins
}

// segment checks the events of s up to head (0: all), and what is derived from
// them.
func (c *checker) segment(s *segment, e catalogEntry, head Seq) {
	c.report.Segments++
	kept, err := damagedFiles(c.dir, s.first)
	c.problem(err)
	for _, k := range kept {
		c.problem(k.damage(s.name))
	}
	if c.next == 0 {
		c.next = s.first
	}
	if s.first != c.next {
		c.problem(&CorruptError{File: s.name, Seq: c.next, What: fmt.Sprintf("the segment begins at %d", s.first)})
		c.next, c.known = s.first, false
	}
	if c.known && c.edge != e.info.start {
		c.problem(&CorruptError{File: s.name, Seq: s.first, What: "the tree before the segment does not match the events"})
	}
	c.edge, c.known = e.info.start, true
	k := &segmentCheck{
		c: c, s: s, live: head != 0, commit: c.next, runsOfCommit: make(map[RunID]bool),
		runs: make(map[RunID]*runEntry), nodes: make(map[string][32]byte),
	}
	to := Seq(1<<63 - 1)
	if head != 0 {
		to = head
	}
	if to >= s.first {
		c.problem(s.eachChunk(s.first, to, 0, k.chunk))
	}
	if k.events > 0 && !k.headed {
		c.problem(&CorruptError{File: s.name, Seq: c.next - 1, What: "the last commit has no tree head"})
	}
	if e.info.sealed {
		if e.info.last != c.next-1 {
			c.problem(&CorruptError{File: s.name, Seq: c.next, What: fmt.Sprintf("the segment ends at %d, the catalog says %d", c.next-1, e.info.last)})
		}
		if e.info.minTime != k.minTime || e.info.maxTime != k.maxTime {
			c.problem(&CorruptError{File: s.name, Seq: s.first, What: "the range of times does not match the events"})
		}
	}
	c.problem(s.view(func(tx storeTx) error { return k.derived(tx, e) }))
}

// segmentCheck is the check of one segment.
type segmentCheck struct {
	c                *checker
	s                *segment
	live             bool // there may be more events than are checked
	events           int
	headed           bool // the last chunk had a tree head
	commit           Seq  // first event after the last tree head
	runsOfCommit     map[RunID]bool
	minTime, maxTime int64
	runs             map[RunID]*runEntry // the index as it should be
	nodes            map[string][32]byte // bucket h as it should be
}

func (k *segmentCheck) bad(seq Seq, run RunID, what string, err error) {
	k.c.problem(&CorruptError{File: k.s.name, Seq: seq, Run: run, What: what, Err: err})
}

func (k *segmentCheck) chunk(key, v []byte) {
	c := k.c
	ck, err := parseChunk(v, k.s.ring)
	if err != nil || len(key) != 8 || ck.last() != Seq(binary.BigEndian.Uint64(key)) {
		k.bad(c.next, RunID{}, fmt.Sprintf("chunk under key %x", key), err)
		c.known = false
		if len(key) == 8 {
			c.next = Seq(binary.BigEndian.Uint64(key)) + 1
		}
		return
	}
	if ck.first != c.next {
		k.bad(c.next, RunID{}, fmt.Sprintf("the next chunk begins at %d", ck.first), nil)
		c.known = false
	}
	c.next = ck.first
	var rec record
	hasBlob := false
	for i := range ck.count {
		if err := ck.parse(i, &rec); err != nil {
			k.bad(c.next, ownerOf(ck.hint(i), k.fits), "event", err)
			c.known = false
		} else {
			k.record(&rec)
			hasBlob = hasBlob || rec.form == payloadBlob
		}
		c.next++
		c.report.Events++
	}
	if hasBlob && ck.flags&flagBlobs == 0 {
		k.bad(ck.first, RunID{}, "the chunk does not say that it refers to a blob", nil)
	}
	if k.headed = ck.flags&flagHead != 0; k.headed {
		h := ck.head
		if h.size != uint64(ck.last()) || c.known && (h.size != c.edge.size || h.root != c.edge.root()) {
			k.bad(k.commit, k.onlyRun(), fmt.Sprintf("the events %d to %d do not match the tree head of their commit", k.commit, ck.last()), nil)
			// Nor will any later head of the segment: one report is enough.
			c.known = false
		}
		k.commit = c.next
		clear(k.runsOfCommit)
	}
	c.progress(k.s.name)
}

// fits reports whether a record is its run's next.
func (k *segmentCheck) fits(r *record) bool {
	run := k.c.runs[r.run]
	return run == nil && r.version == 1 || run != nil && r.version == run.head.version+1
}

// onlyRun returns the run of the commit's events, zero if they are of several.
func (k *segmentCheck) onlyRun() (run RunID) {
	if len(k.runsOfCommit) == 1 {
		for run = range k.runsOfCommit {
		}
	}
	return run
}

func (k *segmentCheck) record(r *record) {
	c, seq := k.c, k.c.next
	k.runsOfCommit[r.run] = true
	run := c.runs[r.run]
	if run == nil {
		run = &checkedRun{}
		c.runs[r.run] = run
		c.report.Runs++
	}
	if r.version != run.head.version+1 || r.time < run.head.time {
		k.bad(seq, r.run, fmt.Sprintf("version %d at time %d follows version %d at time %d", r.version, r.time, run.head.version, run.head.time), nil)
	}
	run.head = runHead{r.version, r.time}
	if run.seg != k.s.first {
		run.prev, run.seg = run.seg, k.s.first
	}
	e := k.runs[r.run]
	if e == nil {
		e = &runEntry{prev: run.prev, first: r.version}
		k.runs[r.run] = e
	}
	e.time = r.time
	e.offs = append(e.offs, uint32(seq-k.s.first))
	if k.events == 0 || r.time < k.minTime {
		k.minTime = r.time
	}
	k.maxTime = max(k.maxTime, r.time)
	k.events++
	if r.form == payloadBlob {
		c.report.Blobs++
		for _, name := range c.blobs.names(&r.blob.sum) {
			c.refs[name] = true
		}
		p, err := c.blobs.load(&r.blob)
		if err == nil && payloadHash(&r.salt, p) != r.hash {
			err = &CorruptError{File: blobName(&r.blob.sum), What: "the salted hash in the event does not match"}
		}
		if err != nil {
			k.bad(seq, r.run, "blob", err)
		}
	}
	if r.form == payloadErased {
		c.problem(c.packed.check(c.dir, c.blobs.ring, seq, r))
	}
	leaf := r.leaf()
	if c.opts.Event != nil {
		c.opts.Event(CheckedEvent{File: k.s.name, Seq: seq, Run: r.run, Version: r.version, Kind: r.kind, Payload: r.payload, Leaf: leaf})
	}
	if c.known {
		c.edge.add(0, leaf, func(level int, index uint64, h [32]byte) {
			if isStored(level) {
				k.nodes[string(nodeKey(level, index))] = h
			}
		})
	}
}

// derived checks what is derived from the events: nodes, index, filter, and
// the segment's own entries.
func (k *segmentCheck) derived(tx storeTx, e catalogEntry) error {
	if err := checkFormat(k.s.name, tx.get(bucketMeta, keyFormat)); err != nil {
		return &CorruptError{File: k.s.name, What: "format", Err: err}
	}
	if k.events > 0 {
		start := segmentInfo{start: e.info.start}
		if !bytes.Equal(tx.get(bucketMeta, keyStart), start.bytes()) {
			k.bad(k.s.first, RunID{}, "the start of the segment is not as the catalog has it", nil)
		}
	}
	if k.c.known {
		// With the edge unknown, no node after it can be computed.
		for key, want := range k.nodes {
			if !bytes.Equal(tx.get(bucketNodes, []byte(key)), want[:]) {
				k.bad(0, RunID{}, fmt.Sprintf("tree node %x does not match the events", key), nil)
			}
		}
		if c, ok := tx.cursor(bucketNodes); ok {
			for key, _ := c.First(); key != nil; key, _ = c.Next() {
				if _, ok := k.nodes[string(key)]; !ok && !k.live {
					k.bad(0, RunID{}, fmt.Sprintf("tree node %x belongs to no event here", key), nil)
				}
			}
		}
	}
	if !e.info.sealed {
		if c, ok := tx.cursor(bucketChunks); ok && !k.live && c.last() != 0 && c.last() != k.c.next-1 {
			k.bad(k.c.next, RunID{}, fmt.Sprintf("the last event is %d, and %d was written last", k.c.next-1, c.last()), nil)
		}
		return nil
	}
	if !bytes.Equal(tx.get(bucketMeta, keySeal), e.info.bytes()) {
		k.bad(k.s.first, RunID{}, "the seal of the segment is not as the catalog has it", nil)
	}
	for id, want := range k.runs {
		if !e.filter.has(probesOf(id)) {
			k.bad(0, id, "the filter does not know the run", nil)
		}
		if v := tx.get(bucketIndex, id[:]); !bytes.Equal(v, want.appendTo(nil, id)) {
			_, _, err := parseRunEntry(v, id, true)
			k.bad(0, id, "the index does not match the events", err)
		}
	}
	if c, ok := tx.cursor(bucketIndex); ok {
		for key, _ := c.First(); key != nil; key, _ = c.Next() {
			if len(key) != len(RunID{}) || k.runs[RunID(key)] == nil {
				k.bad(0, RunID{}, fmt.Sprintf("the index has an entry %x without events", key), nil)
			}
		}
	}
	return nil
}

// finish looks at the blobs from the other side.
func (c *checker) finish() {
	if c.known {
		c.report.Root = c.edge.root()
	}
	c.problem(c.blobs.each(func(name string, isBlob bool) error {
		if !isBlob || !c.refs[name] {
			c.report.Unreferenced = append(c.report.Unreferenced, name)
		}
		return nil
	}))
}
