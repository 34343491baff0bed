package sim

import "math/rand/v2"

// disk is one file that is only appended to, as the kernel and the disk have it.
// Durable ≤ written: what lies between is in the kernel's cache only.
type disk struct {
	rng     *rand.Rand
	data    []byte // what a process reads
	durable int    // of data, what a power cut leaves
	holes   []hole // within durable: what reads see and the disk has not
	lies    bool   // every other sync does nothing and says that it did
	lie     bool
}

// A hole was written and never reached the disk: its sync failed, and the kernel
// takes its pages for clean since.
type hole struct{ from, to int }

func (d *disk) write(b []byte) { d.data = append(d.data, b...) }

// sync makes what was written durable.
func (d *disk) sync() {
	if d.lie = d.lies && !d.lie; d.lie {
		return
	}
	d.durable = len(d.data)
}

// syncFails is a sync that returns an error: some of what was written may be on the
// disk, and no later sync writes the rest.
func (d *disk) syncFails() {
	if d.rng.IntN(2) == 0 {
		d.holes = append(d.holes, hole{d.durable + d.rng.IntN(len(d.data)-d.durable), len(d.data)})
	}
	d.durable = len(d.data)
}

// kill ends the process in the middle of a write of b: the kernel keeps what it
// was given.
func (d *disk) kill(b []byte) { d.write(b[:d.rng.IntN(len(b)+1)]) }

// cut is a power cut: of what was not synced a part is there, perhaps torn.
func (d *disk) cut() {
	loose := d.data[d.durable:]
	d.data = d.data[:d.durable+d.rng.IntN(len(loose)+1)]
	for i := d.durable; i < len(d.data); i += sector {
		if d.rng.IntN(3) == 0 {
			clear(d.data[i:min(i+sector, len(d.data))])
		}
	}
	d.reread()
	d.durable = len(d.data)
}

const sector = 512

// reread is what is seen once nothing is in the kernel's cache any more.
func (d *disk) reread() {
	for _, h := range d.holes {
		if h.from < len(d.data) {
			clear(d.data[h.from:min(h.to, len(d.data))])
		}
	}
	d.holes = nil
}

// drop cuts off what was found to be no whole commit.
func (d *disk) drop(from int) {
	d.data = d.data[:from]
	d.durable = min(d.durable, from)
}
