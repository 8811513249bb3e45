package main

import "strconv"

// step is where a threshold begins, and the colour from there on.
type step struct {
	from  any // nil: from the beginning
	color string
}

func thresholds(steps ...step) object {
	var list []object
	for _, s := range steps {
		list = append(list, object{"value": s.from, "color": s.color})
	}
	return object{"mode": "absolute", "steps": list}
}

var (
	noThreshold = thresholds(step{nil, "blue"})
	// none is for what there should be none of.
	none = thresholds(step{nil, "green"}, step{0.000001, "orange"})
	// ofOpen is for shares that are bad as they grow.
	ofOpen = thresholds(step{nil, "green"}, step{0.000001, "orange"}, step{0.5, "red"})
	// ofSuccess: below nine in ten CircuitBreakerHighFailureRate fires.
	ofSuccess = thresholds(step{nil, "red"}, step{0.9, "orange"}, step{0.99, "green"})
	ofStates  = thresholds(step{nil, "green"}, step{1, "yellow"}, step{2, "red"})
)

// mapped is a value mapping: what to show for 0, 1, 2 and so on.
func mapped(texts ...[2]string) []object {
	options := object{}
	for i, t := range texts {
		options[strconv.Itoa(i)] = object{"index": i, "text": t[0], "color": t[1]}
	}
	return []object{{"type": "value", "options": options}}
}

var (
	states    = mapped([2]string{"CLOSED", "green"}, [2]string{"HALF_OPEN", "yellow"}, [2]string{"OPEN", "red"})
	overrides = mapped([2]string{"AUTOMATIC", "green"}, [2]string{"FORCED_OPEN", "red"}, [2]string{"DISABLED", "purple"})
)

// orText shows a text where there is no number.
func orText(text string) []object {
	return []object{{"type": "special", "options": object{"match": "null+nan", "result": object{"index": 0, "text": text, "color": "text"}}}}
}

// panel is what all have in common.
func panel(kind, title, description, unit string, targets ...object) object {
	for i, t := range targets {
		t["refId"] = string(rune('A' + i))
	}
	return object{
		"type": kind, "title": title, "description": description, "datasource": targets[0]["datasource"], "targets": targets,
		"fieldConfig": object{
			"defaults":  object{"unit": unit, "thresholds": noThreshold, "mappings": []object{}, "custom": object{}, "color": object{"mode": "thresholds"}},
			"overrides": []object{},
		},
		"options": object{}, "transparent": false,
	}
}

// defaults sets what holds for all fields of a panel.
func defaults(p object, set object) object {
	all := p["fieldConfig"].(object)["defaults"].(object)
	for name, value := range set {
		all[name] = value
	}
	return p
}

func custom(p object, set object) object {
	all := p["fieldConfig"].(object)["defaults"].(object)["custom"].(object)
	for name, value := range set {
		all[name] = value
	}
	return p
}

func options(p object, set object) object {
	all := p["options"].(object)
	for name, value := range set {
		all[name] = value
	}
	return p
}

// override sets properties of the field of a name.
func override(p object, name string, properties object) object {
	config := p["fieldConfig"].(object)
	var list []object
	for _, id := range sorted(properties) {
		list = append(list, object{"id": id, "value": properties[id]})
	}
	config["overrides"] = append(config["overrides"].([]object), object{"matcher": object{"id": "byName", "options": name}, "properties": list})
	return p
}

// colored gives series their colours by name.
func colored(p object, nameAndColor ...string) object {
	for i := 0; i < len(nameAndColor); i += 2 {
		override(p, nameAndColor[i], object{"color": object{"mode": "fixed", "fixedColor": nameAndColor[i+1]}})
	}
	return p
}

// linked leads from a value to the dashboard of its breaker.
func linked(p object) object {
	return defaults(p, object{"links": []object{{
		"title": "This breaker in detail", "url": breakerURL("__field.labels"), "targetBlank": false,
	}}})
}

// query asks for a range, for what has a time axis.
func query(expr, legend string) object {
	return object{
		"datasource": metrics, "expr": expr, "legendFormat": legend, "editorMode": "code", "range": true, "instant": false,
		"exemplar": false, "format": "time_series",
	}
}

// now asks for the newest value alone.
func now(expr, legend string) object {
	q := query(expr, legend)
	q["range"], q["instant"] = false, true
	return q
}

// tableQuery asks for the newest value as rows of a table.
func tableQuery(expr string) object {
	q := now(expr, "")
	q["format"] = "table"
	return q
}

func withExemplars(q object) object {
	q["exemplar"] = true
	return q
}

func buckets(q object) object {
	q["format"] = "heatmap"
	return q
}

func lokiQuery(expr, legend string) object {
	return object{"datasource": logs, "expr": expr, "legendFormat": legend, "editorMode": "code", "queryType": "range"}
}

func stat(title, description, unit string, targets ...object) object {
	p := panel("stat", title, description, unit, targets...)
	return options(p, object{
		"colorMode": "background", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
		"wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard",
		"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	})
}

// sparkline adds the course of a value behind it. The newest value counts, also where there is none.
func sparkline(p object) object {
	return options(p, object{"graphMode": "area", "colorMode": "value", "reduceOptions": object{"calcs": []string{"last"}, "fields": "", "values": false}})
}

func gauge(title, description, unit string, targets ...object) object {
	p := panel("bargauge", title, description, unit, targets...)
	defaults(p, object{"min": 0})
	return options(p, object{
		"displayMode": "gradient", "orientation": "horizontal", "showUnfilled": true, "valueMode": "color", "namePlacement": "auto",
		"minVizHeight": 16, "minVizWidth": 8, "maxVizHeight": 40, "sizing": "auto",
		"legend":        object{"calcs": []string{}, "displayMode": "list", "placement": "bottom", "showLegend": false},
		"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	})
}

// lines is a time series; calcs are for its legend.
func lines(title, description, unit string, calcs []string, targets ...object) object {
	p := panel("timeseries", title, description, unit, targets...)
	defaults(p, object{"color": object{"mode": "palette-classic"}, "min": 0})
	custom(p, object{
		"drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 2, "fillOpacity": 0, "gradientMode": "none",
		"showPoints": "auto", "pointSize": 5, "spanNulls": false, "insertNulls": false, "barAlignment": 0,
		"stacking": object{"mode": "none", "group": "A"}, "axisPlacement": "auto", "axisLabel": "", "axisColorMode": "text",
		"axisBorderShow": false, "axisCenteredZero": false, "scaleDistribution": object{"type": "linear"},
		"thresholdsStyle": object{"mode": "off"}, "hideFrom": object{"legend": false, "tooltip": false, "viz": false},
	})
	mode := "table"
	if len(calcs) == 0 {
		mode = "list"
	}
	return options(p, object{
		"legend":  object{"calcs": append([]string{}, calcs...), "displayMode": mode, "placement": "bottom", "showLegend": true},
		"tooltip": object{"mode": "multi", "sort": "desc", "hideZeros": false},
	})
}

func stacked(p object) object {
	return custom(p, object{"stacking": object{"mode": "normal", "group": "A"}, "fillOpacity": 60, "lineWidth": 0, "showPoints": "never"})
}

// bars is for what is counted step by step; a step is a minute at least.
func bars(p object) object {
	p["interval"] = "1m"
	custom(p, object{"drawStyle": "bars", "stacking": object{"mode": "normal", "group": "A"}, "fillOpacity": 80, "lineWidth": 0, "showPoints": "never", "barAlignment": -1, "barWidthFactor": 0.9})
	return defaults(p, object{"decimals": 0})
}

// mostlyNone is for what is 0 on good days: the axis does not go up to 100 for it.
func mostlyNone(p object) object { return custom(p, object{"axisSoftMax": 1}) }

// limit draws a threshold into a time series.
func limit(p object, t object) object {
	return custom(defaults(p, object{"thresholds": t}), object{"thresholdsStyle": object{"mode": "dashed"}})
}

func timeline(title, description string, mappings []object, targets ...object) object {
	p := panel("state-timeline", title, description, "none", targets...)
	defaults(p, object{"mappings": mappings, "thresholds": ofStates})
	custom(p, object{"fillOpacity": 80, "lineWidth": 0, "spanNulls": false, "insertNulls": false, "hideFrom": object{"legend": false, "tooltip": false, "viz": false}})
	return options(p, object{
		"mergeValues": true, "showValue": "auto", "alignValue": "left", "rowHeight": 0.85, "perPage": 20,
		"legend":  object{"calcs": []string{}, "displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": object{"mode": "single", "sort": "none", "hideZeros": false},
	})
}

func heatmap(title, description, unit string, target object) object {
	p := panel("heatmap", title, description, unit, target)
	p["interval"] = "5m" // recoveries are few
	defaults(p, object{"unit": "short", "decimals": 0})
	custom(p, object{"scaleDistribution": object{"type": "linear"}, "hideFrom": object{"legend": false, "tooltip": false, "viz": false}})
	return options(p, object{
		"calculate": false, "cellGap": 1, "cellValues": object{"unit": "short", "decimals": 0},
		"color": object{"mode": "scheme", "scheme": "YlOrRd", "fill": "dark-orange", "scale": "exponential", "exponent": 0.5,
			"steps": 64, "reverse": false, "min": 0},
		"exemplars": object{"color": "rgba(255,0,255,0.7)"}, "filterValues": object{"le": 1e-9},
		"legend": object{"show": true}, "rowsFrame": object{"layout": "auto"}, "showValue": "never",
		"tooltip": object{"mode": "single", "yHistogram": false, "showColorScale": false},
		"yAxis":   object{"axisPlacement": "left", "reverse": false, "unit": unit},
	})
}

func logPanel(title, description, expr string) object {
	p := panel("logs", title, description, "none", lokiQuery(expr, ""))
	p["targets"].([]object)[0]["maxLines"] = 500
	return options(p, object{
		"showTime": true, "showLogContextToggle": false, "showLabels": false, "showCommonLabels": false, "wrapLogMessage": true, "prettifyLogMessage": false,
		"enableLogDetails": true, "dedupStrategy": "none", "sortOrder": "Descending",
	})
}
