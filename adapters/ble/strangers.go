package ble

import (
	"container/list"

	"github.com/godbus/dbus/v5"
)

// mostStrangers bounds the table of devices that are not ours: a busy street has thousands an hour, each with a new
// address every quarter of an hour.
const mostStrangers = 4096

// strangers is the devices that BlueZ told of and that are not ours, the one heard last in front.
type strangers struct {
	order list.List // of *stranger
	known map[dbus.ObjectPath]*list.Element
}

type stranger struct {
	path  dbus.ObjectPath
	bound bool // paired or connected by somebody: not ours to remove
}

// heard notes a stranger, and gives the one that has to make room for it: "" for none.
func (t *strangers) heard(path dbus.ObjectPath, bound bool) (gone dbus.ObjectPath) {
	if e, ok := t.known[path]; ok {
		s := e.Value.(*stranger)
		s.bound = s.bound || bound
		t.order.MoveToFront(e)
		return ""
	}
	if t.known == nil {
		t.known = map[dbus.ObjectPath]*list.Element{}
	}
	t.known[path] = t.order.PushFront(&stranger{path, bound})
	if t.order.Len() <= mostStrangers {
		return ""
	}
	oldest := t.order.Remove(t.order.Back()).(*stranger)
	delete(t.known, oldest.path)
	if oldest.bound {
		return ""
	}
	return oldest.path
}

// left forgets a stranger that BlueZ has forgotten.
func (t *strangers) left(path dbus.ObjectPath) {
	if e, ok := t.known[path]; ok {
		t.order.Remove(e)
		delete(t.known, path)
	}
}
