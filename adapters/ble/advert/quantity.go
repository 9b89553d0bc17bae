package advert

import (
	"maps"
	"slices"

	"edgegateway/adapters/field"
)

// Quantity is what can be measured: its kind and its unit are the same in every format that tells of it.
type Quantity struct {
	Kind field.Kind
	Unit string
}

// quantities is the table of all quantities. Numbers with a fraction are float64.
var quantities = map[string]Quantity{
	"temperature":     {field.KindFloat64, "°C"},
	"humidity":        {field.KindFloat64, "%"},
	"pressure":        {field.KindFloat64, "hPa"},
	"illuminance":     {field.KindFloat64, "lx"},
	"dew_point":       {field.KindFloat64, "°C"},
	"mass":            {field.KindFloat64, "kg"},
	"mass_lb":         {field.KindFloat64, "lb"},
	"energy":          {field.KindFloat64, "kWh"},
	"power":           {field.KindFloat64, "W"},
	"voltage":         {field.KindFloat64, "V"},
	"current":         {field.KindFloat64, "A"},
	"moisture":        {field.KindFloat64, "%"},
	"rotation":        {field.KindFloat64, "°"},
	"distance":        {field.KindFloat64, "m"},
	"duration":        {field.KindFloat64, "s"},
	"speed":           {field.KindFloat64, "m/s"},
	"uv_index":        {field.KindFloat64, ""},
	"volume":          {field.KindFloat64, "l"},
	"flow":            {field.KindFloat64, "m³/h"},
	"gas_volume":      {field.KindFloat64, "m³"},
	"water":           {field.KindFloat64, "l"},
	"storage":         {field.KindFloat64, "l"},
	"acceleration":    {field.KindFloat64, "m/s²"},
	"gyroscope":       {field.KindFloat64, "°/s"},
	"direction":       {field.KindFloat64, "°"},
	"precipitation":   {field.KindFloat64, "mm"},
	"formaldehyde":    {field.KindFloat64, "mg/m³"},
	"battery_voltage": {field.KindFloat64, "V"},
	"acceleration_x":  {field.KindFloat64, "g"},
	"acceleration_y":  {field.KindFloat64, "g"},
	"acceleration_z":  {field.KindFloat64, "g"},
	"uptime":          {field.KindFloat64, "s"},

	"pm2_5":            {field.KindInt, "µg/m³"},
	"pm10":             {field.KindInt, "µg/m³"},
	"co2":              {field.KindInt, "ppm"},
	"tvoc":             {field.KindInt, "µg/m³"},
	"conductivity":     {field.KindInt, "µS/cm"},
	"rotational_speed": {field.KindInt, "1/min"},
	"count":            {field.KindInt, ""},
	"channel":          {field.KindInt, ""},
	"timestamp":        {field.KindInt, "s"},
	"dimmer":           {field.KindInt, ""},
	"device_type":      {field.KindInt, ""},
	"battery":          {field.KindInt, "%"},
	"tx_power":         {field.KindInt, "dBm"},
	"movements":        {field.KindInt, ""},
	"sequence":         {field.KindInt, ""},
	"advertisements":   {field.KindInt, ""},
	"major":            {field.KindInt, ""},
	"minor":            {field.KindInt, ""},

	"firmware": {field.KindString, ""},
	"text":     {field.KindString, ""},
	"raw":      {field.KindString, ""},
	"button":   {field.KindString, ""},
	"uuid":     {field.KindString, ""},

	"boolean":          {field.KindBool, ""},
	"power_on":         {field.KindBool, ""},
	"open":             {field.KindBool, ""},
	"battery_low":      {field.KindBool, ""},
	"battery_charging": {field.KindBool, ""},
	"carbon_monoxide":  {field.KindBool, ""},
	"cold":             {field.KindBool, ""},
	"connected":        {field.KindBool, ""},
	"door":             {field.KindBool, ""},
	"garage_door":      {field.KindBool, ""},
	"gas":              {field.KindBool, ""},
	"heat":             {field.KindBool, ""},
	"light":            {field.KindBool, ""},
	"lock":             {field.KindBool, ""},
	"wet":              {field.KindBool, ""},
	"motion":           {field.KindBool, ""},
	"moving":           {field.KindBool, ""},
	"occupancy":        {field.KindBool, ""},
	"plug":             {field.KindBool, ""},
	"presence":         {field.KindBool, ""},
	"problem":          {field.KindBool, ""},
	"running":          {field.KindBool, ""},
	"safe":             {field.KindBool, ""},
	"smoke":            {field.KindBool, ""},
	"sound":            {field.KindBool, ""},
	"tamper":           {field.KindBool, ""},
	"vibration":        {field.KindBool, ""},
	"window":           {field.KindBool, ""},
}

// Lookup finds a quantity by its name.
func Lookup(name string) (Quantity, bool) {
	q, ok := quantities[name]
	return q, ok
}

// Names lists every quantity, sorted.
func Names() []string { return slices.Sorted(maps.Keys(quantities)) }
