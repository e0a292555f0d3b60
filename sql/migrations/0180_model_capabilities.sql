-- What a model may be asked for beyond a plain request, as catalogue files say it (lib/store/catfile.h): {"efforts","fast","geos"}, each
-- optional. NULL: every effort, standard speed, no geography of its own.
ALTER TABLE model ADD COLUMN capabilities text;
