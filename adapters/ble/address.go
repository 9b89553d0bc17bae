package ble

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"edgegateway/adapters/ble/advert"
	"edgegateway/adapters/field"
)

// origin is where a tag's value comes from.
type origin uint8

const (
	fromFormat  origin = iota // a quantity in an advertisement of a known format: "temperature", "temperature 2"
	fromBytes                 // bytes of an advertisement: "manufacturer 0499 length 24 byte 1"
	fromSignal                // the strength of an advertisement: "rssi"
	fromRead                  // a characteristic, read: "gatt 181A/2A6E"
	fromNotices               // a characteristic, subscribed to: "notify 180D/2A37 heart_rate"
)

// heard says that the value comes unasked.
func (o origin) heard() bool { return o != fromRead }

// broadcast says that the value comes by advertisements.
func (o origin) broadcast() bool { return o != fromRead && o != fromNotices }

// place is a tag's address, parsed.
type place struct {
	origin   origin
	name     string // of the quantity
	nth      int
	source   advert.Source
	id       uint16
	size     int    // of the field's data that is meant; 0 for any
	starts   []byte // of the field's data that is meant
	char     characteristic
	part     string // of a characteristic that holds several values
	offset   int
	bit      int // -1 for none
	explicit bool
}

// characteristic names one by its service's and its own UUID, in full length and lower case.
type characteristic struct{ service, uuid string }

const (
	baseUUID = "0000%04x-0000-1000-8000-00805f9b34fb"
	atHint   = `write a quantity ("temperature"), "rssi", "service FCD2 byte 3", "manufacturer 0499 byte 1", "gatt 181A/2A6E" or "notify 180D/2A37 heart_rate"`
)

// parseUUID reads "180A" or a whole UUID.
func parseUUID(s string) (string, bool) {
	if len(s) == 4 {
		n, err := strconv.ParseUint(s, 16, 16)
		return fmt.Sprintf(baseUUID, n), err == nil
	}
	s = strings.ToLower(s)
	digits := strings.ReplaceAll(s, "-", "")
	_, err := hex.DecodeString(digits)
	if len(s) != 36 || len(digits) != 32 || err != nil || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return "", false
	}
	return s, true
}

// shortUUID gives the 16 bits of a UUID that was assigned by the Bluetooth SIG.
func shortUUID(s string) (uint16, bool) {
	if len(s) != 36 || !strings.EqualFold(s[8:], "-0000-1000-8000-00805f9b34fb") || s[:4] != "0000" {
		return 0, false
	}
	n, err := strconv.ParseUint(s[4:8], 16, 16)
	return uint16(n), err == nil
}

// parsePlace reads a tag's address, or says what is wrong with it.
func parsePlace(at string) (p place, problem, hint string) {
	p.bit = -1
	words := strings.Fields(at)
	if len(words) == 0 {
		return p, "the address is missing", atHint
	}
	rest := words[1:]
	switch words[0] {
	case "rssi":
		p.origin = fromSignal
		if len(rest) > 0 {
			return p, fmt.Sprintf("%q is one word too many", rest[0]), `write "rssi"`
		}
		return p, "", ""
	case "service", "manufacturer":
		p.origin = fromBytes
		if words[0] == "manufacturer" {
			p.source = advert.Manufacturer
		}
		if len(rest) == 0 || len(rest[0]) != 4 {
			return p, "the number of the " + words[0] + " is missing", `write its four hexadecimal digits: "service FCD2 byte 3", "manufacturer 0499 byte 1"`
		}
		id, err := strconv.ParseUint(rest[0], 16, 16)
		if err != nil {
			return p, fmt.Sprintf("%q is no number of a %s", rest[0], words[0]), "it has four hexadecimal digits"
		}
		p.id, rest = uint16(id), rest[1:]
	case "gatt", "notify":
		p.origin = fromRead
		if words[0] == "notify" {
			p.origin = fromNotices
		}
		problem := p.parseCharacteristic(rest)
		if problem != "" {
			return p, problem, `write service and characteristic: "gatt 181A/2A6E", or whole UUIDs`
		}
		if rest = rest[1:]; len(rest) > 0 && p.special() != nil {
			p.part, rest = rest[0], rest[1:]
		}
	default:
		return parseQuantity(words)
	}
	problem, hint = p.parseOptions(rest)
	return p, problem, hint
}

func (p *place) parseCharacteristic(rest []string) (problem string) {
	if len(rest) == 0 {
		return "the characteristic is missing"
	}
	service, char, _ := strings.Cut(rest[0], "/")
	var ok1, ok2 bool
	p.char.service, ok1 = parseUUID(service)
	p.char.uuid, ok2 = parseUUID(char)
	if !ok1 || !ok2 {
		return fmt.Sprintf("%q is no service and characteristic", rest[0])
	}
	return ""
}

func parseQuantity(words []string) (p place, problem, hint string) {
	p = place{origin: fromFormat, name: words[0], nth: 1, bit: -1}
	if _, ok := advert.Lookup(p.name); !ok {
		return p, fmt.Sprintf("there is no quantity %q", p.name), quantityHint(p.name)
	}
	switch len(words) {
	case 1:
		return p, "", ""
	case 2:
		n, err := strconv.Atoi(words[1])
		if err == nil && n >= 1 && n <= 99 {
			p.nth = n
			return p, "", ""
		}
	}
	return p, fmt.Sprintf("%q is not understood", strings.Join(words[1:], " ")), fmt.Sprintf("write %q, or %q for the second one in a message", p.name, p.name+" 2")
}

func quantityHint(word string) string {
	if near, ok := field.Nearest(word, append(advert.Names(), "service", "manufacturer", "gatt", "notify", "rssi")...); ok {
		return fmt.Sprintf("did you mean %q? %s", near, atHint)
	}
	return atHint
}

// parseOptions reads what may stand behind the source: pairs of a word and its value.
func (p *place) parseOptions(rest []string) (problem, hint string) {
	allowed := []string{"byte", "bit"}
	if p.origin == fromBytes {
		allowed = []string{"byte", "bit", "length", "starts"}
	}
	for ; len(rest) > 0; rest = rest[2:] {
		word := rest[0]
		if len(rest) < 2 {
			return fmt.Sprintf("%q has nothing behind it", word), "allowed are " + strings.Join(allowed, ", ") + ", each with its value"
		}
		n, err := strconv.Atoi(rest[1])
		switch {
		case word == "byte" && err == nil && n >= 0 && n < 512:
			p.offset, p.explicit = n, true
		case word == "bit" && err == nil && n >= 0 && n < 64:
			p.bit, p.explicit = n, true
		case word == "length" && p.origin == fromBytes && err == nil && n > 0 && n < 512:
			p.size = n
		case word == "starts" && p.origin == fromBytes:
			if p.starts, err = hex.DecodeString(rest[1]); err != nil {
				return fmt.Sprintf("%q are no bytes", rest[1]), `write them as hexadecimal digits: "starts 05"`
			}
		case word == "byte" || word == "bit" || p.origin == fromBytes && word == "length":
			return fmt.Sprintf("%q cannot stand behind %q", rest[1], word), "bytes are counted from 0 to 511, bits from 0 to 63, the lowest first"
		default:
			return fmt.Sprintf("%q is not understood", word), field.Suggest(word, allowed...)
		}
	}
	return "", ""
}
