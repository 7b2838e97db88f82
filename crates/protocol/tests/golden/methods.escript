#!/usr/bin/env escript
%% Writes every method as RabbitMQ's own encoder writes it, for tests/golden.rs.
%%
%% Usage: escript methods.escript RABBIT_COMMON_EBIN > methods.txt
%%
%% A line is the payload in hex and how it reads. A text argument holds its own name and a number its place, so that no two
%% can be confused; a method with bits stands once for each of them, that one alone set.
%% basic.credit and its answers are left out: RabbitMQ's AMQP 1.0 plugin uses them inside the node, no client does.

-define(FRAMING, rabbit_framing_amqp_0_9_1).
-define(BITS, [passive, durable, auto_delete, internal, nowait, if_unused, if_empty, exclusive, no_local, no_ack, mandatory,
               immediate, redelivered, multiple, requeue, global, insist, active, write, read]).
-define(OCTETS, [version_major, version_minor]).
-define(NUMBERS, [channel_max, frame_max, heartbeat, reply_code, class_id, method_id, ticket, message_count,
                  consumer_count, prefetch_size, prefetch_count, delivery_tag]).
-define(TABLES, [arguments, server_properties, client_properties]).
-define(LONG_TEXTS, [mechanisms, locales, response, challenge, new_secret, channel_id]).

main([Ebin]) ->
    true = code:add_path(Ebin),
    [write(Class, Id, Name) || Class <- lists:seq(1, 100), Id <- lists:seq(1, 199),
                               Name <- [catch ?FRAMING:lookup_method_name({Class, Id})], is_atom(Name)].

write(Class, Id, Name) ->
    Fields = ?FRAMING:method_fieldnames(Name),
    Bits = [Field || Field <- Fields, lists:member(Field, ?BITS)],
    [write(Class, Id, Name, Fields, Bit) || Bit <- case Bits of [] -> [none]; _ -> Bits end].

write(Class, Id, Name, Fields, Bit) ->
    Values = [value(kind(Field), Field, Place, Bit) || {Place, Field} <- lists:enumerate(Fields)],
    Arguments = ?FRAMING:encode_method_fields(list_to_tuple([Name | [Value || {Value, _} <- Values]])),
    Octets = <<Class:16, Id:16, (iolist_to_binary(Arguments))/binary>>,
    Hex = [io_lib:format("~2.16.0b", [Octet]) || <<Octet>> <= Octets],
    Texts = [[name(Field), ": ", Text] || {Field, {_, Text}} <- lists:zip(Fields, Values)],
    Shown = case Texts of [] -> ""; _ -> [" { ", lists:join(", ", Texts), " }"] end,
    io:format("~s ~s~s~n", [Hex, camel(atom_to_list(Name)), Shown]).

kind(Field) ->
    hd([Kind || {Kind, Fields} <- [{bit, ?BITS}, {octet, ?OCTETS}, {number, ?NUMBERS}, {table, ?TABLES},
                                   {long_text, ?LONG_TEXTS}, {text, [Field]}],
                lists:member(Field, Fields)]).

%% The value to encode and how it is shown once decoded.
value(bit, Field, _, Bit) -> {Field =:= Bit, atom_to_list(Field =:= Bit)};
value(octet, _, Place, _) -> {Place, integer_to_list(Place)};
value(number, _, Place, _) -> {256 + Place, integer_to_list(256 + Place)};
value(table, Field, _, _) -> {[{atom_to_binary(Field), bool, true}], io_lib:format("{\"~s\": Bool(true)}", [Field])};
value(long_text, Field, _, _) ->
    Octets = [integer_to_list(Octet) || Octet <- atom_to_list(Field)],
    {atom_to_binary(Field), ["[", lists:join(", ", Octets), "]"]};
value(text, Field, _, _) -> {atom_to_binary(Field), io_lib:format("\"~s\"", [Field])}.

name(nowait) -> "no_wait";
name(type) -> "kind";
name(Field) -> atom_to_list(Field).

camel(Name) -> [string:titlecase(Word) || Word <- string:lexemes(Name, "._")].
