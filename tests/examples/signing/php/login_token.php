<?php

use Firebase\JWT\JWT; // composer require firebase/php-jwt

function login_token(string $userId, string $email): string
{
    $claims = ['user_id' => $userId, 'email' => $email, 'exp' => time() + 3600];
    return JWT::encode($claims, getenv('MESSENGER_SECRET'), 'HS256');
}
