"""Work of many steps that outlives a crash: each step recorded, resumed, undone where a later one fails."""
