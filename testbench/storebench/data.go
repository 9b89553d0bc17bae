package storebench

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"

	"edgegateway/adapters/field"
)

// The reference data: smooth meter data, 20 meters with 10 quantities each, one record a meter and second, every value a
// float32 that walks at random in steps of 0.01, at most five at a time. Seeded, so always the same.
type reference struct {
	rng    *rand.Rand
	groups [20]*field.Group
	walk   [20][quantities]int
	n      int
}

const (
	quantities = 10 // readings in a record
	perBlock   = 50 // records in a block: 500 readings
)

func newReference() *reference {
	r := &reference{rng: rand.New(rand.NewPCG(7, 8))}
	for m := range r.groups {
		g := &field.Group{Device: fmt.Sprint("meter-", m), Name: field.MainGroup}
		for p := range r.walk[m] {
			g.Points = append(g.Points, field.Point{Name: fmt.Sprint("quantity-", p), Kind: field.KindFloat32})
			r.walk[m][p] = 10000 + r.rng.IntN(15000)
		}
		r.groups[m] = g
	}
	return r
}

const begin = int64(1763925256000)

func (r *reference) next() field.Record {
	m, at := r.n%len(r.walk), int64(r.n/len(r.walk))*1000+int64(r.n%len(r.walk)*37)
	r.n++
	rec := field.Record{At: field.Stamp{Wall: begin + at, Mono: at, Boot: 3}, Group: r.groups[m], Values: make([]field.Value, 0, quantities)}
	for p := range r.walk[m] {
		r.walk[m][p] += r.rng.IntN(11) - 5
		rec.Values = append(rec.Values, field.Float32(float32(r.walk[m][p])/100))
	}
	return rec
}

func (r *reference) take(n int) []field.Record {
	rs := make([]field.Record, n)
	for i := range rs {
		rs[i] = r.next()
	}
	return rs
}

// dictionary numbers the groups for those engines that have none of their own.
type dictionary []*field.Group

func (d *dictionary) id(g *field.Group) uint32 {
	i := slices.Index(*d, g)
	if i < 0 {
		i = len(*d)
		*d = append(*d, g)
	}
	return uint32(i)
}

func (d *dictionary) group(id uint32) *field.Group { return (*d)[id] }

// onDisk sums what the files below a folder take on the disk; except names files that are left out.
func onDisk(dir string, except ...string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || slices.Contains(except, e.Name()) {
			return nil // a file that goes away meanwhile takes nothing
		}
		if info, err := e.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512
			}
		}
		return nil
	})
	return n
}
