package main

import (
	"edgegateway/adapters/field"
)

// recordDoc is a record as the command line and the page show it. Tags that the record does not speak of are left out.
type recordDoc struct {
	Device string                 `json:"device"`
	Group  string                 `json:"group"`
	T      int64                  `json:"t"`
	TQ     string                 `json:"tq,omitempty"`
	V      map[string]field.Value `json:"v"`
	Q      map[string]string      `json:"q,omitempty"`
	Units  map[string]string      `json:"units,omitempty"`
}

func docOf(r field.Record, withUnits bool) recordDoc {
	doc := recordDoc{Device: r.Group.Device, Group: r.Group.Name, T: r.At.Wall, TQ: r.At.Trust.String(), V: map[string]field.Value{}}
	for i, p := range r.Group.Points {
		switch q := r.QualityOf(i); q {
		case field.Absent:
			continue
		case field.Good:
			doc.V[p.Name] = r.Values[i]
		default:
			if doc.Q == nil {
				doc.Q = map[string]string{}
			}
			doc.Q[p.Name] = q.String()
		}
		if withUnits && p.Unit != "" {
			if doc.Units == nil {
				doc.Units = map[string]string{}
			}
			doc.Units[p.Name] = p.Unit
		}
	}
	return doc
}
