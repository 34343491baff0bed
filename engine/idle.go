package engine

// idle is the list of runs in memory that nobody owns, the longest idle first. A run
// goes in and out with every step: its place is in the run itself.
type idle struct {
	first, last *loaded
	n           int
}

// place is a run's place in the list.
type place struct {
	before, after *loaded
	in            bool
}

func (d *idle) add(l *loaded) {
	l.place = place{before: d.last, in: true}
	if d.last == nil {
		d.first = l
	} else {
		d.last.place.after = l
	}
	d.last = l
	d.n++
}

// remove takes a run out, if it is in.
func (d *idle) remove(l *loaded) {
	p := l.place
	if !p.in {
		return
	}
	if p.before == nil {
		d.first = p.after
	} else {
		p.before.place.after = p.after
	}
	if p.after == nil {
		d.last = p.before
	} else {
		p.after.place.before = p.before
	}
	l.place = place{}
	d.n--
}
